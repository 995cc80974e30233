variable "mount" {
  description = "The mount path of the engine."
  type        = string
  default     = "gbg"
}

# The attributes are the engine's fields (vault path-help gbg/config).
variable "connections" {
  description = "Connections by name."
  type = map(object({
    client_id        = string
    paired_client_id = optional(string, "")
    token_url        = optional(string)
    scope            = optional(string)
    ca_pem           = optional(string)
    refresh_before   = optional(number) # seconds
    request_timeout  = optional(number) # seconds
    failover         = optional(bool)
    max_secret_age   = optional(number) # seconds
  }))
}

# Set a secret when a client is new or to replace its secret, and leave the map empty
# otherwise: the secrets in Vault stay, and the next apply removes them from the state.
# The Vault provider has no write-only argument for generic endpoints, so secrets given
# here are in the state until then.
variable "client_secrets" {
  description = "Secrets by client id."
  type        = map(string)
  default     = {}
  sensitive   = true
}
