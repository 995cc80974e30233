# One policy for all teams. It allows the connection named in the metadata "team" of
# the caller's entity; without that metadata it allows nothing.
# Vault inserts the value as it is: "*" or "+" allows every connection. So anyone who
# may write entities decides who reads what.

path "gbg/creds/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}

path "gbg/status/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}
