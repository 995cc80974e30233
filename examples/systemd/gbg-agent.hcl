# Vault Agent under systemd (gbg-agent.service): keeps GBG's current token in
# /run/gbg/token for an application of team-a.

vault {
  address = "https://vault.example.com:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/etc/gbg-agent/role-id"
      secret_id_file_path                 = "/etc/gbg-agent/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # Keep trying while Vault is away.
  exit_on_retry_failure = false
}

template {
  contents             = "{{ with secret \"gbg/creds/team-a\" }}{{ .Data.access_token }}{{ end }}"
  destination          = "/run/gbg/token"
  perms                = "0640"
  error_on_missing_key = true
}
