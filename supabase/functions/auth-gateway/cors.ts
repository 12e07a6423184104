import type { Routes } from "./routes.ts";

export type Cors = {
  preflight: (request: Request) => Response | undefined;
  allow: (request: Request, headers: Headers) => void;
};

const ALLOW_HEADERS = [
  "authorization",
  "x-client-info",
  "apikey",
  "content-type",
  "last-event-id",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "traceparent",
  "tracestate",
  "x-retry-count",
  "baggage",
].join(", ");
const MAX_AGE_SECONDS = "7200";

/** Let the listed origins read responses. With an empty list, CORS is off. */
export const cors = (origins: readonly string[], routes: Routes): Cors => {
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
    headers.set("access-control-allow-headers", ALLOW_HEADERS);
    headers.set("access-control-max-age", MAX_AGE_SECONDS);
    return new Response(null, { status: 204, headers });
  };

  return { preflight, allow };
};
