# Sees which connections there are and how each one is. No secret, no token, no
# configuration; changes nothing.
#   vault list -detailed gbg/status
#   vault read gbg/status/team-a

# Vault adds the slash itself. To list is not to read.
path "gbg/config/" {
  capabilities = ["list"]
}

path "gbg/status/" {
  capabilities = ["list"]
}

path "gbg/status" {
  capabilities = ["read"]
}

path "gbg/status/+" {
  capabilities = ["read"]
}
