import type { JWK } from "jose";
import type { Limits } from "./upstream.ts";

export type Environment = (name: string) => string | undefined;
export type Settings = {
  origins: Readonly<Record<string, string>>;
  signingKey: JWK & { kid: string };
  issuer: string;
  jwksUrl: string;
  jwks: string | undefined;
  legacySecret: string | undefined;
  sweepSecret: string | undefined;
  allowedOrigins: readonly string[];
  allowedHeaders: readonly string[];
  limits: Limits;
  port: number;
  host: string;
};

/** A setting is missing or invalid; the message says what to do. */
export class SettingError extends Error {}

const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/,*]+$/;
/** A field's name (RFC 9110). Not `*`, which does not include `authorization`. */
const HEADER = /^(?!\*$)[\w!#$%&'*+.^`|~-]+$/;
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const MIN_SECRET = 32;

/** Read every setting of the gateway, or throw a SettingError. */
export const settingsFrom = (env: Environment, functions: readonly string[]): Settings => {
  const issuer = `${supabaseUrl(env)}/auth/v1`;
  return {
    origins: Object.fromEntries(functions.map((name) => [name, functionOrigin(env, name)])),
    signingKey: signingKey(env),
    issuer,
    jwksUrl: `${issuer}/.well-known/jwks.json`,
    jwks: text(env, "SUPABASE_JWKS"),
    legacySecret: secret(env, "LEGACY_JWT_SECRET"),
    // Trimmed, because HTTP strips white space around a header's value.
    sweepSecret: secret((name) => env(name)?.trim(), "SWEEP_SECRET"),
    allowedOrigins: list(env, "ALLOWED_ORIGINS", ORIGIN, "origins such as https://app.example.com"),
    allowedHeaders: list(env, "ALLOWED_HEADERS", HEADER, "names of headers such as x-app-version")
      .map((name) => name.toLowerCase()),
    limits: {
      maxBodyBytes: integer(env, "MAX_BODY_BYTES", { fallback: MAX_BODY_BYTES, from: 1 }),
      headerTimeoutSeconds: integer(env, "HEADER_TIMEOUT_SECONDS", {
        fallback: 140,
        from: 1,
        to: 150,
      }),
    },
    port: integer(env, "PORT", { fallback: 8000, from: 0, to: 65535 }),
    host: text(env, "HOST") ?? "0.0.0.0",
  };
};

const text = (env: Environment, name: string): string | undefined => env(name)?.trim() || undefined;

const supabaseUrl = (env: Environment): string => {
  const value = text(env, "SUPABASE_URL") ?? "";
  if (isOrigin(value)) return value.replace(/\/$/, "");
  throw new SettingError(
    "Set SUPABASE_URL to the project's address, such as https://<ref>.supabase.co.",
  );
};

const functionOrigin = (env: Environment, name: string): string => {
  const template = text(env, "FASTAPI_ORIGIN_URL");
  if (template !== undefined && !template.includes("{function}")) {
    throw new SettingError(
      "FASTAPI_ORIGIN_URL must contain {function}, such as https://{function}.agent-backend.example.com.",
    );
  }
  const own = `FASTAPI_ORIGIN_URL_${name.toUpperCase().replaceAll("-", "_")}`;
  const value = text(env, own) ?? template?.replaceAll("{function}", name);
  if (value === undefined) {
    throw new SettingError(
      "Set FASTAPI_ORIGIN_URL to the address of the functions, such as " +
        "https://{function}.agent-backend.example.com.",
    );
  }
  if (isOrigin(value)) return value;
  throw new SettingError(
    `${
      text(env, own) ? own : "FASTAPI_ORIGIN_URL"
    } must be an http or https address without a path.`,
  );
};

const isOrigin = (value: string): boolean => {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  return /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href && !/[?#]/.test(value);
};

const signingKey = (env: Environment): JWK & { kid: string } => {
  const jwk = json(text(env, "GATEWAY_SIGNING_KEY"));
  const { kty, crv, d, x, y, kid } = jwk;
  const parts = [d, x, y].every((part) => typeof part === "string");
  if (kty === "EC" && crv === "P-256" && parts && typeof kid === "string" && kid !== "") {
    return { ...jwk, kid };
  }
  throw new SettingError("Set GATEWAY_SIGNING_KEY to a private ES256 key as a JWK with a kid.");
};

const json = (value: string | undefined): JWK => {
  try {
    return JSON.parse(value ?? "{}") ?? {};
  } catch {
    return {};
  }
};

const secret = (env: Environment, name: string): string | undefined => {
  const value = env(name) || undefined;
  if (value === undefined || value.length >= MIN_SECRET) return value;
  throw new SettingError(`${name} must have at least ${MIN_SECRET} characters.`);
};

const list = (env: Environment, name: string, entry: RegExp, what: string): string[] => {
  const entries = (env(name) ?? "").split(",").map((part) => part.trim())
    .filter((part) => part !== "");
  const wrong = entries.find((part) => !entry.test(part));
  if (wrong === undefined) return entries;
  throw new SettingError(`${name} must list ${what}, not ${JSON.stringify(wrong)}.`);
};

type Range = { fallback: number; from: number; to?: number };

const integer = (
  env: Environment,
  name: string,
  { fallback, from, to = 2 ** 31 }: Range,
): number => {
  const value = Number(text(env, name) ?? fallback);
  if (Number.isInteger(value) && value >= from && value <= to) return value;
  throw new SettingError(`${name} must be a whole number from ${from} to ${to}.`);
};
