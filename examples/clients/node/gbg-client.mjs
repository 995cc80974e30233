// Keeps a GBG access token and calls GBG's API with it once a second. Needs Node 18
// or newer and no packages.
//
//   VAULT_ADDR, VAULT_TOKEN  the Vault server, and a token that may read the path
//   GBG_CREDS_PATH           the path to read, by default gbg/creds
//   GBG_API                  the URL to call

import { setTimeout as sleep } from "node:timers/promises";

const TIMEOUT = 15_000; // milliseconds for one request
const FIRST_PAUSE = 1_000; // after a failed read, doubled each time
const LONGEST_PAUSE = 30_000;

async function get(url, headers) {
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT) });
  if (!response.ok) {
    throw Object.assign(new Error(`status ${response.status}`), { status: response.status });
  }
  return response.json();
}

// Holds the current token and replaces it in the background.
//
// A newer token is available after ttl seconds; the old one is still valid then.
// While reads fail, the keeper keeps the old token and retries with growing pauses.
// It reads from Vault once per token, for any number of callers.
class TokenKeeper {
  #url;
  #headers;
  #current;
  #renewal; // the reading of a newer token; undefined if there is none under way

  // Fails if there is no token.
  static async start(vault, vaultToken, path) {
    const keeper = new TokenKeeper();
    keeper.#url = `${vault}/v1/${path}`;
    keeper.#headers = { "X-Vault-Token": vaultToken };
    keeper.#current = await keeper.#read();
    keeper.#keep();
    return keeper;
  }

  // Returns the token without waiting.
  token() {
    if (Date.now() >= this.#current.expires) {
      throw new Error("no valid token: Vault could not be read in time");
    }
    return this.#current.token;
  }

  // Replaces a token that GBG's API has refused, and returns whether there is another
  // one now. Asks Vault for one newer token until the next one is due: if GBG refuses
  // that, too, tokens are not the problem.
  async renew(refused) {
    if (this.#current.token === refused && !this.#current.renewed) {
      this.#renewal ??= this.#read(this.#current.fetched);
      try {
        this.#current = { ...(await this.#renewal), renewed: true };
      } catch (error) {
        console.error("reading a newer token:", error.message);
      } finally {
        this.#renewal = undefined;
      }
    }
    return this.#current.token !== refused;
  }

  // Reads the token, or with newerThan one that was fetched after that.
  async #read(newerThan) {
    const query = newerThan ? `?${new URLSearchParams({ newer_than: newerThan })}` : "";
    const { data } = await get(this.#url + query, this.#headers);
    return {
      token: data.access_token,
      fetched: data.last_vault_rotation,
      expires: Date.parse(data.expire_time),
      ttl: data.ttl * 1000,
    };
  }

  async #keep() {
    for (;;) {
      await sleep(this.#current.ttl, undefined, { ref: false });
      for (let pause = FIRST_PAUSE; ; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
        try {
          this.#current = await this.#read();
          break;
        } catch (error) {
          console.error("reading the token:", error.message);
        }
        await sleep(pause * (0.8 + 0.2 * Math.random()), undefined, { ref: false });
      }
    }
  }
}

// Calls GBG's API, and once more with a newer token if it refuses the token.
async function call(keeper) {
  const token = keeper.token();
  try {
    await get(GBG_API, { Authorization: `Bearer ${token}` });
  } catch (error) {
    if (error.status !== 401 || !(await keeper.renew(token))) {
      throw error;
    }
    await get(GBG_API, { Authorization: `Bearer ${keeper.token()}` });
  }
}

const { VAULT_ADDR, VAULT_TOKEN, GBG_CREDS_PATH = "gbg/creds", GBG_API } = process.env;
const keeper = await TokenKeeper.start(VAULT_ADDR, VAULT_TOKEN, GBG_CREDS_PATH);
for (;;) {
  try {
    await call(keeper);
    console.log("call: accepted");
  } catch (error) {
    console.error("call:", error.message);
  }
  await sleep(1000);
}
