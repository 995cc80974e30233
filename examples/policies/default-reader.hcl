# An application that reads the token of the connection "default", and nothing else.
# This connection has two paths in Vault:
#   vault read gbg/creds
#   vault read gbg/creds/default

path "gbg/creds" {
  capabilities = ["read"]
}

path "gbg/creds/default" {
  capabilities = ["read"]
}
