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

token='' expires=0 ttl=0 fetched='' next=0 pause=$first_pause renewed=false status=''

# Credentials go through stdin, because other users can see command lines.
get() { # HEADER URL
  printf '%s\n' "$1" | curl --silent --show-error --fail --max-time 15 --header @- "$2"
}

# Reads the token, or one that is newer than a time.
read_token() { # QUERY
  local answer fields
  answer=$(get "X-Vault-Token: $VAULT_TOKEN" "$VAULT_ADDR/v1/${GBG_CREDS_PATH:-gbg/creds}$1") || return
  fields=$(jq -er '.data | "\(.access_token) \(.expire_time | fromdate) \(.ttl) \(.last_vault_rotation)"' <<<"$answer") || return
  read -r token expires ttl fetched <<<"$fields"
  next=$(($(date +%s) + ttl + 1)) # date truncates to seconds
}

# Reads the token if ttl has passed. While reads fail, keeps the old token and
# retries with growing pauses.
refresh() {
  if (($(date +%s) < next)); then
    return
  fi
  if read_token ''; then
    renewed=false
    pause=$first_pause
  else
    next=$(($(date +%s) + pause))
    pause=$((pause * 2 < longest_pause ? pause * 2 : longest_pause))
  fi
}

# Calls GBG's API with the token.
call() {
  status=$(printf 'Authorization: Bearer %s\n' "$token" |
    curl --silent --show-error --max-time 15 --header @- --output /dev/null --write-out '%{http_code}' "$GBG_API") || return
  [[ $status == 2* ]]
}

# Calls GBG's API, and once more with a newer token if it refuses the token. Asks Vault
# for one newer token until the next one is due: if GBG refuses that, too, tokens are
# not the problem.
call_twice() {
  call && return
  [[ $status == 401 && $renewed == false ]] || return 1
  renewed=true
  read_token "?newer_than=$fetched" && call
}

while true; do
  refresh
  if (($(date +%s) < expires)); then
    if call_twice; then
      echo "call: accepted"
    else
      echo "call: status $status" >&2
    fi
  else
    echo "no token" >&2
  fi
  sleep 1
done
