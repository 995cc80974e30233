# Configures, verifies, rotates and deletes every connection, and makes keys. Cannot
# read tokens: a write of config is verified at GBG before it is stored, so
# administrators need no token, and the audit log shows only applications under creds.
#   vault write gbg/config/team-a client_id=ID client_secret=@secret-file
#   vault list gbg/config

path "gbg/config" {
  capabilities = ["create", "read", "update", "delete"]
}

# Vault adds the slash.
path "gbg/config/" {
  capabilities = ["list"]
}

path "gbg/config/+" {
  capabilities = ["create", "read", "update", "delete"]
}

path "gbg/rotate" {
  capabilities = ["update"]
}

path "gbg/rotate/+" {
  capabilities = ["update"]
}

# Check that GBG accepts the clients. This changes nothing.
path "gbg/verify" {
  capabilities = ["update"]
}

path "gbg/verify/+" {
  capabilities = ["update"]
}

path "gbg/keys" {
  capabilities = ["read", "update"]
}

path "gbg/keys/+" {
  capabilities = ["read", "update"]
}

# List the status of all connections. Vault adds the slash.
path "gbg/status/" {
  capabilities = ["list"]
}

path "gbg/status" {
  capabilities = ["read"]
}

path "gbg/status/+" {
  capabilities = ["read"]
}
