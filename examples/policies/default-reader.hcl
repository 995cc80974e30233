# An application that uses the connection without a name: reads its token, and
# nothing else. That connection is called "default", and Vault sees two paths:
#   vault read gbg/creds
#   vault read gbg/creds/default

path "gbg/creds" {
  capabilities = ["read"]
}

path "gbg/creds/default" {
  capabilities = ["read"]
}
