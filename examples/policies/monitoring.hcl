# Prometheus, which reads the metrics of all connections and nothing else.
#   curl -H "X-Vault-Token: $VAULT_TOKEN" $VAULT_ADDR/v1/gbg/metrics

path "gbg/metrics" {
  capabilities = ["read"]
}
