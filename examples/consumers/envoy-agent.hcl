# Vault Agent for Envoy: keeps GBG's token in the file that envoy.yaml names.
#   VAULT_ADDR=https://vault.example:8200 vault agent -config=envoy-agent.hcl
# Run it in the folder with role-id and secret-id, as a user that may write to /run/gbg.

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
  exit_on_retry_failure = false
}

template {
  contents             = <<EOT
{{ with secret "gbg/creds/team-a" -}}
{
  "resources": [
    {
      "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
      "name": "gbg",
      "generic_secret": {"secret": {"inline_string": {{ printf "Bearer %s" .Data.access_token | toJSON }}}}
    }
  ]
}
{{ end -}}
EOT
  destination          = "/run/gbg/envoy-sds.json"
  perms                = "0640"
  error_on_missing_key = true
}
