// An OAuth server that is not ours, the npm package oidc-provider, as a process on
// loopback for the end-to-end tests. It is made for Node 22 and works with 20. Its
// argument is JSON:
//
//   clients          metadata of clients: client_id, token_endpoint_auth_method, ...
//   resources        resource indicators (RFC 8707) that clients may name
//   lifetime         how many seconds access tokens are valid
//   clock_tolerance  how many seconds the clocks of clients may differ, by default 15
//   aud_is_issuer    whether the aud of an assertion must be the issuer
//
// It prints one line of JSON, {"url": ...}, and ends when its standard input does.
//
//   PUT /clients/ID  replaces the metadata of a client
//   PUT /clock       sets the clock: {"ahead": SECONDS}

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";

console.info = console.warn; // standard output is for the URL
const { default: Provider, errors } = await import("oidc-provider");
const config = JSON.parse(process.argv[2]);

let ahead = 0; // milliseconds
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length ? args : [Date.now()]));
  }

  static now() {
    return RealDate.now() + ahead;
  }
};

const clients = new Map();

function setClient(client) {
  clients.set(client.client_id, { grant_types: ["client_credentials"], response_types: [], redirect_uris: [], ...client });
}

// Stores what the provider keeps. Nothing expires: no jti is forgotten.
class Adapter {
  #entries;

  constructor(model) {
    this.#entries = model === "Client" ? clients : new Map();
  }

  async find(id) {
    return this.#entries.get(id);
  }

  async upsert(id, entry) {
    this.#entries.set(id, entry);
  }
}

function newProvider(issuer) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return new Provider(issuer, {
    adapter: Adapter,
    clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    clockTolerance: config.clock_tolerance ?? 15,
    cookies: { keys: [randomUUID()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => {
          if (!config.resources.includes(resource)) {
            throw new errors.InvalidTarget();
          }
          return { audience: resource, scope: "api", accessTokenTTL: config.lifetime, accessTokenFormat: "jwt" };
        },
      },
    },
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" }] },
    ttl: { ClientCredentials: config.lifetime },
    assertJwtClientAuthClaimsAndHeader: (_, claims) => {
      if (config.aud_is_issuer && claims.aud !== issuer) {
        throw new errors.InvalidClientAuth("aud must be the issuer");
      }
    },
    // The provider's own dispatcher refuses loopback addresses.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  });
}

const server = createServer(async (request, response) => {
  response.setHeader("Date", new Date().toUTCString());
  const [, path, id] = request.url.split("/");
  if (request.method === "PUT") {
    const body = await json(request);
    if (path === "clock") {
      ahead = body.ahead * 1000;
    } else {
      setClient({ ...body, client_id: decodeURIComponent(id) });
    }
    response.writeHead(204).end();
    return;
  }
  handle(request, response);
});

let handle;
config.clients?.forEach(setClient);
server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  handle = newProvider(url).callback();
  console.log(JSON.stringify({ url }));
});
process.stdin.resume().on("end", () => process.exit());
