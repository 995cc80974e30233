# consul-template for an application of team-a: keeps GBG's current token in a file.
#   VAULT_ADDR=https://vault.example:8200 VAULT_TOKEN=... consul-template -config=consul-template.hcl

vault {
  # VAULT_TOKEN is renewed. Vault Agent can log in and write it to a file instead:
  # vault_agent_token_file = "/run/vault/token"
  renew_token = true

  retry {
    # Keep trying. By default consul-template ends after 12 failed reads in a row.
    attempts    = 0
    max_backoff = "30s"
  }
}

template {
  contents             = "{{ with secret \"gbg/creds/team-a\" }}{{ .Data.access_token }}{{ end }}"
  destination          = "gbg-token"
  perms                = "0600"
  error_on_missing_key = true
}
