# One policy for all teams: it opens the connection that the caller's entity names
# in its metadata "team", and nothing without that.
# Vault puts the value in as it is: "*" or "+" opens every connection. Whoever may
# write entities decides who reads what.

path "gbg/creds/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}

path "gbg/status/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}
