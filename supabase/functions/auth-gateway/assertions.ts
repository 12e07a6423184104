import { type JWK, SignJWT } from "jose";
import { cache } from "./cache.ts";
import { importKey } from "./keys.ts";

export type Statement = {
  function: string;
  sub: string;
  sessionId: string;
  tokenHash: string;
  method: string;
  path: string;
};
export type Mint = (statement: Statement) => Promise<string>;
type Signer = {
  key: JWK & { kid: string };
  headerTimeoutSeconds: number;
  now: () => number;
};

const MAX_LIFETIME = 150;
const REUSE_SECONDS = 30;
const MAX_ASSERTIONS = 2000;

/**
 * Make a function that signs verified callers, for one function, method and path.
 *
 * A request may queue for the whole header time-out during a cold start, so an assertion is reused
 * only while its remaining lifetime is at least that long.
 */
export const minter = async (signer: Signer): Promise<Mint> => {
  const { key, headerTimeoutSeconds, now } = signer;
  const reuse = Math.min(REUSE_SECONDS, MAX_LIFETIME - headerTimeoutSeconds);
  const privateKey = await importKey(key, "ES256", "sign");
  const known = cache<string>(MAX_ASSERTIONS, now);
  return async (statement) => {
    const name = [statement.function, statement.method, statement.path, statement.tokenHash];
    const cached = known.get(name.join(" "));
    if (cached !== undefined) return cached;
    const issuedAt = Math.floor(now());
    const assertion = await claims(statement, issuedAt, issuedAt + headerTimeoutSeconds + reuse)
      .setProtectedHeader({ typ: "gw+jwt", alg: "ES256", kid: key.kid })
      .sign(privateKey);
    known.set(name.join(" "), assertion, issuedAt + reuse);
    return assertion;
  };
};

const claims = (statement: Statement, issuedAt: number, expiresAt: number): SignJWT =>
  new SignJWT({
    iss: "auth-gateway",
    aud: statement.function,
    sub: statement.sub,
    session_id: statement.sessionId,
    ath: statement.tokenHash,
    htm: statement.method,
    htu: statement.path,
    iat: issuedAt,
    exp: expiresAt,
    jti: crypto.randomUUID(),
  });
