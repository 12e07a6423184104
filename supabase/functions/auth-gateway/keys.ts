import { importJWK, type JWK } from "jose";

export type Key = CryptoKey | Uint8Array;
/** Finds the key that can verify a signature of this algorithm, if there is one. */
export type Keys = (alg: string, kid: string | undefined) => Promise<Key | undefined>;
type KeySet = ReadonlyMap<string, Key>;

const MAX_AGE = 600;
const COOLDOWN = 30;
// Access tokens live an hour: no valid one is signed with older keys.
const MAX_STALE = 3600;
const TIMEOUT_MS = 5000;
const PRIVATE_FIELDS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** Read a JWKS without its private and symmetric keys, and without keys for other uses. */
export const parseKeys = async (text: string): Promise<KeySet> => {
  const { keys } = JSON.parse(text) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new TypeError("a JWKS has a list of keys");
  const byName = new Map<string, Key>();
  for (const jwk of keys) await addKey(byName, jwk);
  return byName;
};

/**
 * Import a key for one operation. WebCrypto imports no key with the `key_ops` of both halves of a pair, which
 * `supabase gen signing-key` writes.
 */
export const importKey = (jwk: JWK, alg: string, operation: "sign" | "verify") => {
  const operations = jwk.key_ops ?? [operation];
  if (!operations.includes(operation)) throw new TypeError(`this key may not ${operation}`);
  return importJWK({ ...jwk, key_ops: [operation] }, alg);
};

const addKey = async (byName: Map<string, Key>, jwk: JWK): Promise<void> => {
  const alg = algorithm(jwk);
  if (alg === undefined || byName.has(`${alg} ${jwk.kid}`)) return;
  try {
    byName.set(`${alg} ${jwk.kid}`, await importKey(jwk, alg, "verify"));
  } catch {
    // A broken key must not make the others unusable.
  }
};

const algorithm = (jwk: JWK | null): string | undefined => {
  if (jwk === null || typeof jwk !== "object" || typeof jwk.kid !== "string") return undefined;
  if (PRIVATE_FIELDS.some((field) => Object.hasOwn(jwk, field))) return undefined;
  if (jwk.use !== undefined && jwk.use !== "sig") return undefined;
  const alg = jwk.kty === "RSA" ? "RS256" : jwk.crv === "P-256" ? "ES256" : undefined;
  return jwk.alg === undefined || jwk.alg === alg ? alg : undefined;
};

export const inlineKeys = (set: KeySet): Keys => (alg, kid) =>
  Promise.resolve(set.get(`${alg} ${kid}`));

export type Remote = {
  url: string;
  fetch: typeof fetch;
  now: () => number;
  log: (line: Record<string, unknown>) => void;
};

/**
 * Keys from a URL. Unknown key ids and failures cause at most one fetch per cooldown; while the URL
 * fails, the last keys stay valid for an hour.
 *
 * jose's createRemoteJWKSet counts its cooldown from the last success only and drops good keys on a
 * failure, so each request during an outage of Auth would cause a fetch.
 */
export const remoteKeys = ({ url, fetch, now, log }: Remote): Keys => {
  let cached: KeySet = new Map();
  let fetchedAt = -Infinity;
  let triedAt = -Infinity;
  let pending: Promise<void> | undefined;

  const load = async () => {
    try {
      cached = await parseKeys(await read(fetch, url));
      fetchedAt = now();
    } catch {
      log({ event: "jwks.unavailable" });
    } finally {
      triedAt = now();
      pending = undefined;
    }
  };
  const refresh = () => within(now() - triedAt, COOLDOWN) ? undefined : (pending ??= load());

  return async (alg, kid) => {
    if (!within(now() - fetchedAt, MAX_AGE)) await (pending ?? refresh());
    if (!cached.has(`${alg} ${kid}`)) await (pending ?? refresh());
    return within(now() - fetchedAt, MAX_STALE) ? cached.get(`${alg} ${kid}`) : undefined;
  };
};

// Also false if the clock was set back.
const within = (age: number, limit: number) => age >= 0 && age < limit;

const read = async (fetch: Remote["fetch"], url: string): Promise<string> => {
  const response = await fetch(url, {
    headers: { accept: "application/json" },
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (response.ok) return await response.text();
  await response.body?.cancel();
  throw new Error(`the key server responded with ${response.status}`);
};

/** Accept HS256 only if the project still signs with its legacy secret. */
export const withLegacySecret = (keys: Keys, secret: string | undefined): Keys => {
  const key = secret === undefined ? undefined : new TextEncoder().encode(secret);
  return (alg, kid) => alg === "HS256" ? Promise.resolve(key) : keys(alg, kid);
};
