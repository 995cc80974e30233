# Vault Agent for Prometheus: logs in, and keeps a Vault token that is valid in the
# file vault-token.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent.hcl
# role-id and secret-id are in the folder where it is started.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      # Otherwise Agent deletes the file, and cannot log in once it is restarted.
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "vault-token"
      # For Prometheus to read it, run Agent as its user, or in its group.
      mode = 0640
    }
  }
}
