# Vault Agent for Prometheus: logs in and keeps a valid Vault token in the file
# vault-token.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent.hcl
# Run it in the folder with role-id and secret-id.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      # By default Agent deletes the file, and cannot log in after a restart.
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "vault-token"
      # Run Agent as Prometheus's user or in its group, so that Prometheus can read it.
      mode = 0640
    }
  }
}
