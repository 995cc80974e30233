# An application of team-a that exchanges its own id_tokens at GBG Identity Solution.
# Without "read" it cannot get the token of the connection's own client.
#   vault write gbg/creds/team-a id_token=@token.jwt

path "gbg/creds/team-a" {
  capabilities = ["update"]
}
