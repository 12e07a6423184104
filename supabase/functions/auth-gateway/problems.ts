type Fields = {
  status: number;
  code: string;
  detail: string;
  headers?: Record<string, string> | undefined;
};

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  499: "Client Closed Request",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

const CODES: Readonly<Record<number, string>> = {
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  405: "method_not_allowed",
  409: "conflict",
  413: "body_too_large",
  429: "too_many_requests",
  431: "token_too_large",
  502: "bad_gateway",
  503: "unavailable",
  504: "timeout",
};

/** Thrown to respond with a problem instead of a function's response. `reason` is for the log only. */
export class Refusal extends Error {
  constructor(readonly fields: Fields, readonly reason?: string) {
    super(fields.code);
  }
}

const refuse = (
  status: number,
  detail: string,
  headers?: Record<string, string>,
  reason?: string,
) => {
  const code = CODES[status] ?? (status < 500 ? "bad_request" : "internal_error");
  return new Refusal({ status, code, detail, headers }, reason);
};

export const notFound = () => refuse(404, "There is nothing at this address.");
export const methodNotAllowed = (methods: readonly string[]) =>
  refuse(405, "This address does not take this method.", { allow: methods.join(", ") });
/** `reason`: for the log. A caller who tries out tokens must not learn it. */
export const unauthorized = (reason: string) =>
  refuse(
    401,
    "The request carries no valid proof of who sends it.",
    { "www-authenticate": "Bearer" },
    reason,
  );
export const tokenTooLarge = (maxBytes: number) =>
  refuse(
    431,
    `The access token is larger than ${maxBytes} bytes: keep large data out of the user's metadata and custom claims.`,
    {},
    "token.too_large",
  );
export const bodyTooLarge = (maxBytes: number) =>
  refuse(413, `The body is larger than ${maxBytes} bytes.`);
export const badGateway = () =>
  refuse(502, "The function sent a response that cannot be passed on.");
export const unavailable = () =>
  refuse(503, "The function cannot be reached at the moment.", { "retry-after": "2" });
export const clientGone = () =>
  new Refusal({ status: 499, code: "client_gone", detail: "The caller closed the request." });
export const internalError = () => refuse(500, "Something went wrong on our side.");

/** Replaces a function's error whose body may not be shown to callers. */
export const functionFailed = (status: number, retryAfter: string | null) =>
  refuse(
    status,
    "The function could not serve the request.",
    retryAfter === null ? {} : { "retry-after": retryAfter },
  );

/** The response for a problem (RFC 9457). */
export const problemResponse = ({ fields }: Refusal, requestId: string): Response => {
  const { status, code, detail, headers } = fields;
  const title = TITLES[status] ?? "Error";
  const body = { type: "about:blank", title, status, code, detail, request_id: requestId };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      ...headers,
      "content-type": "application/problem+json",
      "cache-control": "no-store",
    },
  });
};
