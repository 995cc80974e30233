# Lists the connections and reads the status of each. Cannot read secrets, tokens
# or the configuration, and cannot change anything.
#   vault list -detailed gbg/status
#   vault read gbg/status/team-a

# Vault adds the slash. Listing does not allow reading.
path "gbg/config/" {
  capabilities = ["list"]
}

path "gbg/status/" {
  capabilities = ["list"]
}

path "gbg/status" {
  capabilities = ["read"]
}

path "gbg/status/+" {
  capabilities = ["read"]
}
