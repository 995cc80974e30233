# Rotates and verifies every connection, and reads its status and public keys. Cannot
# read or change the configuration, and cannot read tokens.
#   vault read gbg/status/team-a
#   vault write -f gbg/verify/team-a
#   vault write gbg/rotate/team-a client_id=STANDBY client_secret=@new.secret
# "+" matches any name. The paths without a name are the connection "default".

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
  capabilities = ["read"]
}

path "gbg/keys/+" {
  capabilities = ["read"]
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
