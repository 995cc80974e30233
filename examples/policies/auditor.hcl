# Lists the connections, reads the status of each, and checks that GBG accepts their
# clients. Cannot read secrets, tokens or the configuration, and cannot change anything.
#   vault list -detailed gbg/status
#   vault read gbg/status/team-a
#   vault write -f gbg/verify/team-a

# Vault adds the slash. Listing does not allow reading.
path "gbg/config/" {
  capabilities = ["list"]
}

# Check that GBG accepts the clients. This changes nothing.
path "gbg/verify" {
  capabilities = ["update"]
}

path "gbg/verify/+" {
  capabilities = ["update"]
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
