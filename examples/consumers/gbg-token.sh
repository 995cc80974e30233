#!/usr/bin/env bash
# Prints a GBG access token, for scripts and cron jobs. Keeps it in a file and reads
# Vault again when there is a newer one.
#
#   curl --header @<(echo "Authorization: Bearer $(gbg-token.sh)") https://gbg.example/...
#
#   VAULT_ADDR       the Vault server, or a Vault Proxy
#   VAULT_TOKEN      a token that may read the path; not needed with a Vault Proxy
#   GBG_CREDS_PATH   the path to read, by default gbg/creds
#   GBG_TOKEN_CACHE  the file, by default in XDG_RUNTIME_DIR; one for each path and user
set -euo pipefail
: "${VAULT_ADDR:?}"
path=${GBG_CREDS_PATH:-gbg/creds}
cache=${GBG_TOKEN_CACHE:-${XDG_RUNTIME_DIR:?}/${path//\//-}}

pause=2 # seconds until the next try after a failed read

# Prints ttl, the time of expiry and the token. The Vault token goes through stdin,
# because other users can see command lines.
read_token() {
  printf 'X-Vault-Request: true\n%s\n' "${VAULT_TOKEN:+X-Vault-Token: $VAULT_TOKEN}" |
    curl --silent --show-error --fail --max-time 15 --header @- "$VAULT_ADDR/v1/$path" |
    jq -er '.data | "\(.ttl) \(.expire_time | fromdate) \(.access_token)"'
}

load() {
  next=0 expires=0 token=''
  if [[ -s $cache ]]; then
    read -r next expires token <"$cache"
  fi
  now=$(date +%s)
}

# Reads Vault and stores the answer. After a failure the old token is kept as long as it
# is valid.
refresh() {
  local answer ttl
  if answer=$(read_token); then
    read -r ttl expires token <<<"$answer"
    next=$((now + ttl + 1)) # date truncates to seconds
  else
    next=$(($(date +%s) + pause))
    if ((next > expires)); then
      echo "gbg-token: no token" >&2
      return 1
    fi
    echo "gbg-token: keeping the old token" >&2
  fi
  echo "$next $expires $token" >"$cache.new"
  mv "$cache.new" "$cache"
}

umask 077
load
if ((now >= next)); then
  exec 9>>"$cache.lock"
  # One script reads. The others use the old token, or wait if there is none.
  if flock --nonblock 9 || { ((now >= expires)) && flock 9; }; then
    load
    if ((now >= next)); then
      refresh
    fi
  fi
fi
echo "$token"
