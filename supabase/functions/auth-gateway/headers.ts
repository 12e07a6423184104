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
/** A path below the request's. Clients cannot use any other: it names an address of a function. */
const RELATIVE = /^[\w-]+(?:\/[\w.~%-]+)*$/;
const REQUEST_ID = /^[A-Za-z0-9_.-]{1,64}$/;

/** The caller's request id if it is short and clean, else a new one. */
export const requestId = (headers: Headers): string => {
  const header = headers.get("x-request-id") ?? "";
  return REQUEST_ID.test(header) ? header : crypto.randomUUID();
};

/** The headers for a function. Of the caller's claims about its identity, only the token passes. */
export const requestHeaders = (caller: Headers, id: string, assertion: string): Headers => {
  const headers = picked(caller, REQUEST_HEADERS);
  headers.set("x-request-id", id);
  headers.set("x-gateway-assertion", assertion);
  // A compressed stream would reach the caller late, or with a wrong content-encoding.
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
