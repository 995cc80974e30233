# Configures, rotates and deletes every connection. Gets no token: a write of
# config is verified at GBG before it is stored, so nobody who configures needs
# one, and the audit log shows applications alone under creds.
#   vault write gbg/config/team-a client_id=ID client_secret=@secret-file
#   vault list gbg/config

path "gbg/config" {
  capabilities = ["create", "read", "update", "delete"]
}

# Vault adds the slash itself.
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

# All of them at a glance. Vault adds the slash itself.
path "gbg/status/" {
  capabilities = ["list"]
}

path "gbg/status" {
  capabilities = ["read"]
}

path "gbg/status/+" {
  capabilities = ["read"]
}
