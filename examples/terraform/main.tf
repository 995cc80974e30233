# The engine's mount, its connections to GBG, and policies for each team, for "tofu"
# and "terraform". A second apply changes nothing, also after a rotation or failover.

terraform {
  required_version = ">= 1.6"
  required_providers {
    vault = {
      source = "hashicorp/vault"
    }
  }
}

# Uses VAULT_ADDR and VAULT_TOKEN.
provider "vault" {}

resource "vault_mount" "gbg" {
  path        = var.mount
  type        = "vault-plugin-secrets-gbg"
  description = "GBG access tokens"
}

resource "vault_generic_endpoint" "connection" {
  for_each = var.connections

  path = "${vault_mount.gbg.path}/config/${each.key}"

  # A read returns every setting except secrets. With ignore_absent_fields only
  # declared fields are compared: a manual change of a setting shows as drift, a
  # secret never does, and active_client_id, which a rotation changes, is not
  # declared and so not compared. disable_read would hide drift. write_fields is not
  # used because a write returns no data.
  ignore_absent_fields = true

  # Durations are in seconds, as the engine returns them: "5m" would always differ
  # from 300. A write is partial: settings and secrets that are left out keep their
  # values in Vault.
  data_json = jsonencode(merge(
    { for setting, value in each.value : setting => value if value != null },
    {
      for field, id in {
        client_secret        = each.value.client_id
        paired_client_secret = each.value.paired_client_id
      } : field => var.client_secrets[id] if contains(local.clients_with_secret, id)
    },
  ))
}

locals {
  # The whole map is marked as sensitive, but its keys are not secret.
  clients_with_secret = nonsensitive(keys(var.client_secrets))
}

# Allows reading a team's tokens: attach gbg-read-NAME to the team's auth role.
resource "vault_policy" "reader" {
  for_each = var.connections

  name   = "${var.mount}-read-${each.key}"
  policy = <<-EOT
    path "${vault_mount.gbg.path}/creds/${each.key}" {
      capabilities = ["read"]
    }
  EOT
}

# Allows rotating a team's clients and reading their status, but not its tokens.
resource "vault_policy" "operator" {
  for_each = var.connections

  name   = "${var.mount}-operate-${each.key}"
  policy = <<-EOT
    path "${vault_mount.gbg.path}/rotate/${each.key}" {
      capabilities = ["update"]
    }
    path "${vault_mount.gbg.path}/status/${each.key}" {
      capabilities = ["read"]
    }
  EOT
}
