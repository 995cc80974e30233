# Vault Agent as the parent of a program of team-a: starts it with GBG's token in
# its environment, and starts it anew with the next one.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=agent-exec.hcl
# role-id, secret-id and the program are in the folder where it is started.

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
  # With true, Agent would end after 12 failed reads in a row, and the program
  # with it.
  exit_on_retry_failure = false
}

env_template "GBG_TOKEN" {
  contents             = "{{ with secret \"gbg/creds/team-a\" }}{{ .Data.access_token }}{{ end }}"
  error_on_missing_key = true
}

exec {
  command = ["./app"]
  # "never" would leave the program with its first token.
  restart_on_secret_changes = "always"
  # Agent waits up to 30 seconds for the program to end after this signal, then
  # kills it.
  restart_stop_signal = "SIGTERM"
}
