import { base64url, compactVerify, decodeProtectedHeader } from "jose";
import type { Key, Keys } from "./keys.ts";
import { Refusal, tokenTooLarge, unauthorized } from "./problems.ts";
import { cache } from "./cache.ts";

export type Caller = { sub: string; sessionId: string; tokenHash: string };
export type Verify = (authorization: string | null) => Promise<Caller>;
type Verified = Omit<Caller, "tokenHash"> & { exp: number };
type Rules = { keys: Keys; issuer: string; now: () => number };

const BEARER = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/i;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ALGORITHMS = ["ES256", "RS256", "HS256"];
const MAX_TOKEN = 8192;
const TOLERANCE = 60;
const CACHE_SECONDS = 60;
const MAX_TOKENS = 2000;

/** Verify Supabase access tokens. Callers see the same refusal for every failure; the log has the reason. */
export const verifier = (rules: Rules): Verify => {
  const known = cache<Caller>(MAX_TOKENS, rules.now);
  return async (authorization) => {
    if (authorization === null) throw refused("missing");
    const token = BEARER.exec(authorization)?.[1];
    if (token === undefined) throw refused("malformed");
    if (token.length > MAX_TOKEN) throw tokenTooLarge(MAX_TOKEN);
    // The key is the token itself: a hash needs a thread and a fifth of a request's time.
    const cached = known.get(token);
    if (cached !== undefined) return cached;
    const tokenHash = await sha256(token);
    const { exp, ...claims } = await verifyOrRefuse(token, rules);
    const caller = { ...claims, tokenHash };
    known.set(token, caller, Math.min(rules.now() + CACHE_SECONDS, exp));
    return caller;
  };
};

const sha256 = async (text: string): Promise<string> =>
  base64url.encode(
    new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
  );

const verifyOrRefuse = async (token: string, rules: Rules): Promise<Verified> => {
  const key = await orRefuse("unreadable_header", () => keyFor(token, rules.keys));
  const { payload } = await orRefuse(
    "invalid_signature",
    () => compactVerify(token, key.key, { algorithms: [key.alg] }),
  );
  return await orRefuse("not_json", () => checked(record(parsed(payload)), rules));
};

/** The result of a step, or a refusal: the step's own, or one with this reason. */
const orRefuse = async <T>(reason: string, step: () => T | Promise<T>): Promise<T> => {
  try {
    return await step();
  } catch (error) {
    throw error instanceof Refusal ? error : refused(reason);
  }
};

const refused = (reason: string): Refusal => unauthorized(`token.${reason}`);

const keyFor = async (token: string, keys: Keys): Promise<{ key: Key; alg: string }> => {
  const header: Record<string, unknown> = { typ: "JWT", ...decodeProtectedHeader(token) };
  const { alg, kid, typ } = header;
  if ("crit" in header || "b64" in header) throw refused("unknown_extension");
  // A gateway assertion (typ gw+jwt) must never be accepted as a user's token.
  if (!isText(typ) || typ.toUpperCase() !== "JWT") throw refused("invalid_typ");
  if (!isText(alg) || !ALGORITHMS.includes(alg)) throw refused("invalid_alg");
  if (!isText(kid) && (kid !== undefined || alg !== "HS256")) throw refused("invalid_kid");
  const key = await keys(alg, kid);
  if (key === undefined) throw refused("unknown_key");
  return { key, alg };
};

const parsed = (payload: Uint8Array): unknown =>
  JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload));

const record = (value: unknown, reason = "not_json"): Record<string, unknown> => {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw refused(reason);
};

const checked = (claims: Record<string, unknown>, { issuer, now }: Rules): Verified => {
  const { sub, session_id: sessionId, exp } = claims;
  if (claims.iss !== issuer) throw refused("invalid_iss");
  if (!isForUsers(claims.aud)) throw refused("invalid_aud");
  if (claims.role !== "authenticated") throw refused("invalid_role");
  if (!isTime(exp)) throw refused("invalid_exp");
  if (exp <= now()) throw refused("expired");
  for (const name of ["nbf", "iat"]) {
    if (claims[name] !== undefined && !isTime(claims[name])) throw refused(`invalid_${name}`);
  }
  if (!isPast(claims.nbf, now()) || !isPast(claims.iat, now())) throw refused("from_the_future");
  if (!isUuid(sub)) throw refused("invalid_sub");
  if (!isUuid(sessionId)) throw refused("invalid_session_id");
  if (typeof (claims.is_anonymous ?? false) !== "boolean") throw refused("invalid_is_anonymous");
  record(claims.app_metadata ?? {}, "invalid_app_metadata");
  return { sub, sessionId, exp };
};

// Supabase issues a string; the standard also allows a list, accepted without other audiences.
const isForUsers = (aud: unknown): boolean =>
  aud === "authenticated" || (Array.isArray(aud) && aud.length === 1 && aud[0] === "authenticated");

const isTime = (value: unknown): value is number => Number.isFinite(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isUuid = (value: unknown): value is string => isText(value) && UUID.test(value);
const isPast = (time: unknown, now: number): boolean =>
  time === undefined || (isTime(time) && time <= now + TOLERANCE);
