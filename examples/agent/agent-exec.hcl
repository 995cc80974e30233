# Vault Agent that runs a program of team-a with GBG's token in its environment,
# and restarts it with each new token.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent-exec.hcl
# Run it in the folder with role-id, secret-id and the program.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "role-id"
      secret_id_file_path                 = "secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # If true, Agent and the program end after 12 failed reads in a row.
  exit_on_retry_failure = false
}

env_template "GBG_TOKEN" {
  contents             = "{{ with secret \"gbg/creds/team-a\" }}{{ .Data.access_token }}{{ end }}"
  error_on_missing_key = true
}

exec {
  command = ["./app"]
  # With "never" the program would keep its first token.
  restart_on_secret_changes = "always"
  # Agent waits up to 30 seconds for the program to end after this signal, then
  # kills it.
  restart_stop_signal = "SIGTERM"
}
