import { minter } from "../auth-gateway/assertions.ts";
import { type Collaborators, gateway } from "../auth-gateway/gateway.ts";
import { inlineKeys, parseKeys, withLegacySecret } from "../auth-gateway/keys.ts";
import { routes } from "../auth-gateway/routes.ts";

type TokenCase = {
  name: string;
  authorization: string[];
  legacy: boolean;
  accepted: boolean;
  principal?: { sub: string; session_id: string };
};
export type Golden = {
  now: number;
  issuer: string;
  legacy_secret: string;
  jwks: { keys: { kid: string }[] };
  gateway_jwks: { keys: { kid: string }[] };
  gateway_signing_key: { kid: string; d: string };
  tokens: TokenCase[];
};

const FILE = new URL("../../../tests/golden/tokens.json", import.meta.url);
export const golden: Golden = JSON.parse(await Deno.readTextFile(FILE));

export const authorization = (name = "an ES256 token"): string => {
  const header = golden.tokens.find((one) => one.name === name)?.authorization[0];
  if (header === undefined) throw new Error(`there is no golden token ${name}`);
  return header;
};

export type Seen = {
  url: string;
  init: RequestInit;
  headers: Headers;
};
type Answer = (seen: Seen, count: number) => Response | Promise<Response>;

/** An upstream that records requests and responds with the results of `answer`. */
export const upstream = (answer: Answer = () => Response.json({ ok: true })) => {
  const seen: Seen[] = [];
  const call = async (url: URL | RequestInfo, init: RequestInit = {}): Promise<Response> => {
    const one = { url: String(url), init, headers: new Headers(init.headers) };
    seen.push(one);
    return await answer(one, seen.length);
  };
  return { seen, fetch: call as typeof fetch };
};

export type Lines = Record<string, unknown>[];
type Changes = Partial<Collaborators> & { legacySecret?: string; lines?: Lines };

export const testGateway = async (changes: Changes = {}) => {
  const now = changes.now ?? (() => golden.now);
  const limits = { maxBodyBytes: 1000, headerTimeoutSeconds: 5, ...changes.limits };
  const keys = inlineKeys(await parseKeys(JSON.stringify(golden.jwks)));
  const mint = await minter({ key: golden.gateway_signing_key, headerTimeoutSeconds: 140, now });
  return gateway({
    keys: withLegacySecret(keys, changes.legacySecret),
    mint,
    issuer: golden.issuer,
    routes,
    origins: { assistant: "https://assistant.example.com", threads: "https://threads.example.com" },
    allowedOrigins: [],
    fetch: upstream().fetch,
    log: (line) => changes.lines?.push(line),
    ...changes,
    now,
    limits,
  });
};

export const BASE = "https://project.example.com/functions/v1/auth-gateway/assistant";

/** A request with a valid token, unless `init` has another. */
export const requestTo = (path = "/runs", init: RequestInit = {}): Request => {
  const headers = new Headers(init.headers);
  if (!headers.has("authorization")) headers.set("authorization", authorization());
  return new Request(`${BASE}${path}`, { method: "POST", ...init, headers });
};

/** The promise, or an error after 5 s, so that a test never waits forever. */
export const soon = async <T>(promise: Promise<T>): Promise<T> => {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("not resolved within 5 s")), 5000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};

/** Read a problem, and check its form. */
export const problem = async (response: Response): Promise<Record<string, unknown>> => {
  const type = response.headers.get("content-type");
  if (type !== "application/problem+json") throw new Error(`not a problem: ${type}`);
  const body = await response.json();
  const fields = Object.keys(body).sort().join(" ");
  if (fields !== "code detail request_id status title type") throw new Error(`fields: ${fields}`);
  if (body.status !== response.status) throw new Error("the problem has another status");
  if (body.request_id !== response.headers.get("x-request-id")) throw new Error("another id");
  return body;
};
