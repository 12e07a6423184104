import type { Routes } from "./routes.ts";

export type Cors = {
  preflight: (request: Request) => Response | undefined;
  allow: (request: Request, headers: Headers) => void;
};

/** What browsers may send: the headers that functions read, and those that clients add by themselves. */
const ALLOW_HEADERS = [
  "authorization",
  "content-type",
  "last-event-id",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "prefer",
  "x-request-id",
  "traceparent",
  "tracestate",
  "baggage",
  // supabase-js
  "apikey",
  "x-client-info",
  "x-region",
  "x-retry-count",
  // OpenAI's client
  "user-agent",
  "openai-organization",
  "openai-project",
  "x-stainless-arch",
  "x-stainless-custom-poll-interval",
  "x-stainless-helper-method",
  "x-stainless-lang",
  "x-stainless-os",
  "x-stainless-package-version",
  "x-stainless-poll-helper",
  "x-stainless-retry-count",
  "x-stainless-runtime",
  "x-stainless-runtime-version",
  "x-stainless-timeout",
];
const MAX_AGE_SECONDS = "7200";

/** Let the listed origins read responses, and send `more` headers. Without origins, CORS is off. */
export const cors = (
  origins: readonly string[],
  routes: Routes,
  more: readonly string[] = [],
): Cors => {
  const allowHeaders = [...new Set([...ALLOW_HEADERS, ...more])].join(", ");
  const methods = new Set(Object.values(routes).flatMap((paths) => Object.values(paths).flat()));

  const allow = (request: Request, headers: Headers): void => {
    if (origins.length === 0) return;
    headers.append("vary", "Origin");
    const origin = request.headers.get("origin");
    if (origin === null || !origins.includes(origin)) return;
    headers.set("access-control-allow-origin", origin);
    headers.set(
      "access-control-expose-headers",
      "x-request-id, retry-after, ratelimit, ratelimit-policy, etag, location, content-disposition",
    );
  };

  const preflight = (request: Request): Response | undefined => {
    const isPreflight = request.headers.has("access-control-request-method");
    if (origins.length === 0 || request.method !== "OPTIONS" || !isPreflight) return undefined;
    const headers = new Headers();
    allow(request, headers);
    if (!headers.has("access-control-allow-origin")) {
      return new Response(null, { status: 204, headers });
    }
    headers.set("access-control-allow-methods", [...methods].join(", "));
    headers.set("access-control-allow-headers", allowHeaders);
    headers.set("access-control-max-age", MAX_AGE_SECONDS);
    return new Response(null, { status: 204, headers });
  };

  return { preflight, allow };
};
