# Vault Agent for an application of team-a: logs in, and keeps GBG's current token
# in two files.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent.hcl
# The other files here, and role-id and secret-id, are in the folder where it is
# started; the files with the token are written there.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      # Otherwise Agent deletes the file, and cannot log in once it is restarted.
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # After 12 failed reads in a row Agent starts its templates anew and goes on
  # trying. With true it would end, and leave that to whatever starts it again.
  exit_on_retry_failure = false
  # static_secret_render_interval is for answers that do not say when to come
  # back. GBG's tokens do (ttl), so it changes nothing here.
}

# Both templates read the same path, which is one read for Agent.

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
