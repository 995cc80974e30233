# Vault Proxy for applications of team-a on the same machine. It logs in, so that they
# need no Vault token:
#   curl -H 'X-Vault-Request: true' http://127.0.0.1:8100/v1/gbg/creds/team-a
#
#   VAULT_ADDR=https://vault.example:8200 vault proxy -config=vault-proxy.hcl
# Run it in the folder with role-id and secret-id.

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "role-id"
      secret_id_file_path = "secret-id"
      # By default the file is deleted, and Proxy cannot log in after a restart.
      remove_secret_id_file_after_reading = false
    }
  }
}

api_proxy {
  # Requests are sent with Proxy's Vault token, whatever token they come with.
  use_auto_auth_token = "force"
}

# Everybody who can connect gets what Proxy's policy allows: listen on loopback only,
# or on a unix socket with socket_mode, socket_user and socket_group.
listener "tcp" {
  address     = "127.0.0.1:8100"
  tls_disable = true
  # Keeps out requests that another program was tricked into sending.
  require_request_header = true
}
