# A Nomad job of team-a with GBG's current token in a file. The application reads
# secrets/gbg-token before each call.

job "app" {
  datacenters = ["dc1"]

  group "app" {
    task "app" {
      driver = "docker"

      config {
        image = "registry.example.com/app:1.0.0"
      }

      # A role of Vault's auth method for Nomad's workload identities, with a policy
      # as in examples/policies/team-reader.hcl.
      vault {
        role = "gbg-team-a"
      }

      template {
        data                 = "{{ with secret \"gbg/creds/team-a\" }}{{ .Data.access_token }}{{ end }}"
        destination          = "${NOMAD_SECRETS_DIR}/gbg-token"
        perms                = "0600"
        error_on_missing_key = true
        # Only the file changes. The default, restart, would restart the task for
        # every token.
        change_mode = "noop"
      }

      env {
        GBG_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/gbg-token"
      }
    }
  }
}
