# Rotates and verifies the connection of team-a, and reads its status and public keys.
# Cannot read or change its configuration, and cannot read tokens.
#   vault read gbg/status/team-a
#   vault write gbg/rotate/team-a client_id=STANDBY client_secret=@new.secret

path "gbg/rotate/team-a" {
  capabilities = ["update"]
}

path "gbg/verify/team-a" {
  capabilities = ["update"]
}

path "gbg/keys/team-a" {
  capabilities = ["read"]
}

path "gbg/status/team-a" {
  capabilities = ["read"]
}
