const REQUEST_HEADERS = [
  "authorization",
  "accept",
  "content-type",
  "last-event-id",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "prefer",
  "traceparent",
  "tracestate",
];
const RESPONSE_HEADERS = [
  "content-type",
  "cache-control",
  "content-disposition",
  "etag",
  "ratelimit",
  "ratelimit-policy",
  "retry-after",
  "x-accel-buffering",
];
/** An address below the one that was asked for. Any other names a place only functions know. */
const RELATIVE = /^[\w-]+(?:\/[\w.~%-]+)*$/;
const REQUEST_ID = /^[A-Za-z0-9_.-]{1,64}$/;

/** The caller's request id where it is short and clean, else a new one. */
export const requestId = (headers: Headers): string => {
  const given = headers.get("x-request-id") ?? "";
  return REQUEST_ID.test(given) ? given : crypto.randomUUID();
};

/** What a function is told: nothing the caller says about who it is, except its token. */
export const requestHeaders = (caller: Headers, id: string, assertion: string): Headers => {
  const headers = picked(caller, REQUEST_HEADERS);
  headers.set("x-request-id", id);
  headers.set("x-gateway-assertion", assertion);
  // A compressed stream would reach the caller late, or with a header that is no longer true.
  headers.set("accept-encoding", "identity");
  return headers;
};

export const responseHeaders = (upstream: Headers): Headers => {
  const headers = picked(upstream, RESPONSE_HEADERS);
  const location = upstream.get("location") ?? "";
  if (RELATIVE.test(location)) headers.set("location", location);
  return headers;
};

const picked = (from: Headers, names: readonly string[]): Headers => {
  const headers = new Headers();
  for (const name of names) {
    const value = from.get(name);
    if (value !== null) headers.set(name, value);
  }
  return headers;
};
