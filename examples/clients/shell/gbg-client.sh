#!/usr/bin/env bash
# Keeps a GBG access token with curl and jq, and calls GBG's API with it once a
# second.
#
#   VAULT_ADDR, VAULT_TOKEN  the Vault server, and a token that may read the path
#   GBG_CREDS_PATH           the path to read, by default gbg/creds
#   GBG_API                  the URL to call
set -euo pipefail
: "${VAULT_ADDR:?}" "${VAULT_TOKEN:?}" "${GBG_API:?}"

first_pause=1 # seconds after a failed read, doubled each time
longest_pause=30

token='' expires=0 ttl=0 next=0 pause=$first_pause

# Credentials go through stdin, because other users can see command lines.
get() { # HEADER URL
  printf '%s\n' "$1" | curl --silent --show-error --fail --max-time 15 --header @- "$2"
}

# Reads the token if ttl has passed. While reads fail, keeps the old token and
# retries with growing pauses.
refresh() {
  local answer fields
  if (($(date +%s) < next)); then
    return
  fi
  if answer=$(get "X-Vault-Token: $VAULT_TOKEN" "$VAULT_ADDR/v1/${GBG_CREDS_PATH:-gbg/creds}") &&
    fields=$(jq -er '.data | "\(.access_token) \(.expire_time | fromdate) \(.ttl)"' <<<"$answer"); then
    read -r token expires ttl <<<"$fields"
    next=$(($(date +%s) + ttl + 1)) # date truncates to seconds
    pause=$first_pause
  else
    next=$(($(date +%s) + pause))
    pause=$((pause * 2 < longest_pause ? pause * 2 : longest_pause))
  fi
}

while true; do
  refresh
  if (($(date +%s) < expires)); then
    if get "Authorization: Bearer $token" "$GBG_API" >/dev/null; then
      echo "call: accepted"
    fi
  else
    echo "no token" >&2
  fi
  sleep 1
done
