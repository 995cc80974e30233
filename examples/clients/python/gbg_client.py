#!/usr/bin/env python3
"""Keeps a GBG access token and calls GBG's API with it once a second.

VAULT_ADDR, VAULT_TOKEN  the Vault server, and a token that may read the path
GBG_CREDS_PATH           the path to read, by default gbg/creds
GBG_API                  the URL to call
"""

import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime

TIMEOUT = 15  # seconds for one request
FIRST_PAUSE = 1  # seconds after a failed read, doubled each time
LONGEST_PAUSE = 30


def get(url, headers):
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        return response.read()


class TokenKeeper:
    """Holds the current token and replaces it in the background.

    A newer token is available after ttl seconds; the old one is still valid
    then. While reads fail, the keeper keeps the old token and retries with
    growing pauses. It reads from Vault once per token, for any number of callers.
    """

    def __init__(self, vault, vault_token, path):
        self._url = f"{vault}/v1/{path}"
        self._headers = {"X-Vault-Token": vault_token}
        self._current = self._read()  # fails if there is no token
        self._renewed = None  # the token that was read because another was refused
        self._renewal = threading.Lock()
        threading.Thread(target=self._keep, daemon=True).start()

    def token(self):
        """Returns the token without waiting."""
        token, expires, _, _ = self._current
        if time.time() >= expires:
            raise RuntimeError("no valid token: Vault could not be read in time")
        return token

    def renew(self, refused):
        """Replaces a token that GBG's API has refused.

        Returns whether there is another one now. Asks Vault for one newer token until
        the next one is due: if GBG refuses that, too, tokens are not the problem.
        """
        with self._renewal:
            token, _, _, fetched = self._current
            if token != refused or token == self._renewed:
                return token != refused
            try:
                self._current = self._read(newer_than=fetched)
            except (OSError, ValueError, KeyError) as error:
                print("reading a newer token:", error, file=sys.stderr, flush=True)
                return False
            self._renewed = self._current[0]
            return self._renewed != refused

    def _read(self, **query):
        url = self._url + ("?" + urllib.parse.urlencode(query) if query else "")
        data = json.loads(get(url, self._headers))["data"]
        expires = datetime.fromisoformat(data["expire_time"].replace("Z", "+00:00"))
        return data["access_token"], expires.timestamp(), data["ttl"], data["last_vault_rotation"]

    def _keep(self):
        while True:
            time.sleep(self._current[2])
            pause = FIRST_PAUSE
            while True:
                try:
                    self._current = self._read()
                    break
                except (OSError, ValueError, KeyError) as error:
                    print("reading the token:", error, file=sys.stderr, flush=True)
                time.sleep(pause * random.uniform(0.8, 1))
                pause = min(2 * pause, LONGEST_PAUSE)


def call(api, keeper):
    """Calls GBG's API, and once more with a newer token if it refuses the token."""
    token = keeper.token()
    try:
        get(api, {"Authorization": "Bearer " + token})
    except urllib.error.HTTPError as error:
        if error.code != 401 or not keeper.renew(token):
            raise
        get(api, {"Authorization": "Bearer " + keeper.token()})


def main():
    keeper = TokenKeeper(
        os.environ["VAULT_ADDR"],
        os.environ["VAULT_TOKEN"],
        os.environ.get("GBG_CREDS_PATH", "gbg/creds"),
    )
    api = os.environ["GBG_API"]
    while True:
        try:
            call(api, keeper)
            print("call: accepted", flush=True)
        except (OSError, RuntimeError) as error:
            print("call:", error, file=sys.stderr, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    main()
