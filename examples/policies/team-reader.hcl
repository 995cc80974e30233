# An application of team-a that reads the team's token, and nothing else.
#   vault read gbg/creds/team-a

path "gbg/creds/team-a" {
  capabilities = ["read"]
}
