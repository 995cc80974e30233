# Rotates the connection of team-a and sees how it is. Neither reads nor changes
# its configuration, and gets no token.
#   vault read gbg/status/team-a
#   vault write gbg/rotate/team-a client_id=STANDBY client_secret=@new.secret

path "gbg/rotate/team-a" {
  capabilities = ["update"]
}

path "gbg/status/team-a" {
  capabilities = ["read"]
}
