# An application of team-a at GBG Identity Solution: exchanges an id_token of its
# own. Without "read" it does not get the token that a connection's own client
# gets.
#   vault write gbg/creds/team-a id_token=@token.jwt

path "gbg/creds/team-a" {
  capabilities = ["update"]
}
