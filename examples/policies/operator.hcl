# Rotates every connection and sees how it is. Neither reads nor changes the
# configuration, and gets no token.
#   vault read gbg/status/team-a
#   vault write gbg/rotate/team-a client_id=STANDBY client_secret=@new.secret
# "+" is any one name. The paths without a name are the connection "default".

path "gbg/rotate" {
  capabilities = ["update"]
}

path "gbg/rotate/+" {
  capabilities = ["update"]
}

# All of them at a glance. Vault adds the slash itself.
path "gbg/status/" {
  capabilities = ["list"]
}

path "gbg/status" {
  capabilities = ["read"]
}

path "gbg/status/+" {
  capabilities = ["read"]
}
