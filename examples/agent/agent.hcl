# Vault Agent for an application of team-a: logs in and keeps GBG's current token
# in two files.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent.hcl
# Run it in the folder with the two templates, role-id and secret-id. Agent writes
# the token files there.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      # By default Agent deletes the file, and cannot log in after a restart.
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # After 12 failed reads in a row Agent restarts its templates and keeps trying.
  # If true, it would end instead.
  exit_on_retry_failure = false
  # static_secret_render_interval has no effect here: it is for answers without a
  # ttl.
}

# Both templates use the same path, which Agent reads only once.

template {
  source               = "gbg.env.ctmpl"
  destination          = "gbg.env"
  perms                = "0600"
  error_on_missing_key = true
}

template {
  source               = "gbg.json.ctmpl"
  destination          = "gbg.json"
  perms                = "0600"
  error_on_missing_key = true
}
