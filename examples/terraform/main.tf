# The engine's mount, its connections to GBG, and a policy for each team.
# "tofu" and "terraform" both run this. A second apply changes nothing, also
# after a rotation or a failover.

terraform {
  required_version = ">= 1.6"
  required_providers {
    vault = {
      source = "hashicorp/vault"
    }
  }
}

# VAULT_ADDR and VAULT_TOKEN say where and who.
provider "vault" {}

resource "vault_mount" "gbg" {
  path        = var.mount
  type        = "vault-plugin-secrets-gbg"
  description = "GBG access tokens"
}

resource "vault_generic_endpoint" "connection" {
  for_each = var.connections

  path = "${vault_mount.gbg.path}/config/${each.key}"

  # Reading gives every setting but no secret. With ignore_absent_fields only
  # what is declared here is compared: a setting that somebody changed by hand
  # shows as drift, a secret never does, and active_client_id, which a rotation
  # moves, is not declared and so not compared. disable_read would hide drift.
  # write_fields is not used: a write answers nothing.
  ignore_absent_fields = true

  # Durations are numbers of seconds, as the engine reads them back; "5m" would
  # differ from 300 for ever. A write is partial: a setting or a secret that is
  # not given stays as it is in Vault.
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
  # The map is marked as secret as a whole; the ids in it are none.
  clients_with_secret = nonsensitive(keys(var.client_secrets))
}

# Who may read a team's tokens: attach gbg-read-NAME to the team's auth role.
resource "vault_policy" "reader" {
  for_each = var.connections

  name   = "${var.mount}-read-${each.key}"
  policy = <<-EOT
    path "${vault_mount.gbg.path}/creds/${each.key}" {
      capabilities = ["read"]
    }
  EOT
}

# Who may rotate and look after a team's clients, without reading its tokens.
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
