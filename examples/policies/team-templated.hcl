# One policy for all teams. It allows the connection named in the metadata "team" of
# the caller's entity; without that metadata it allows nothing.
# Anyone who may write entities decides who reads what. Vault before 1.21.6 and 2.0.1
# inserts the value as it is, so that "*" or "+" allows every connection; newer releases
# refuse wildcards in it.

path "gbg/creds/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}

path "gbg/status/{{identity.entity.metadata.team}}" {
  capabilities = ["read"]
}
