import { type Body, takeBody } from "./body.ts";
import { responseHeaders } from "./headers.ts";
import { badGateway, clientGone, functionFailed, Refusal, unavailable } from "./problems.ts";

export type Limits = { maxBodyBytes: number; headerTimeoutSeconds: number };
type Fetch = typeof fetch;

const RETRY_PAUSE_MS = 200;
const RETRY_STATUSES = [502, 503, 504];
const EMPTY_STATUSES = [204, 205, 304];
/** Shared: Deno aborts the signal of every finished request, and each new error costs its stack. */
const GONE = clientGone();
const ERROR_TYPES = ["application/json", "application/problem+json"];

/**
 * Forward a request, and resolve to the function's response when its headers have arrived.
 *
 * The time-out covers the headers only: a stream may last longer.
 */
export const forward = async (
  request: Request,
  url: URL,
  headers: Headers,
  { fetch, limits }: { fetch: Fetch; limits: Limits },
): Promise<Response> => {
  const controller = new AbortController();
  const abort = () => controller.abort(GONE);
  if (request.signal.aborted) abort();
  request.signal.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(
    () => controller.abort(unavailable()),
    limits.headerTimeoutSeconds * 1000,
  );
  try {
    const body = await takeBody(request, limits.maxBodyBytes, controller);
    const send = () => fetch(url, init(request.method, headers, body, controller.signal));
    const mayRepeat = body.repeatable && isIdempotent(request);
    return await relay(await (mayRepeat ? sendTwice(send, controller.signal) : send()));
  } catch (error) {
    // Not the error itself: errors of fetch contain addresses.
    if (controller.signal.aborted) throw controller.signal.reason;
    throw error instanceof Refusal ? error : unavailable();
  } finally {
    clearTimeout(timer);
  }
};

const init = (method: string, headers: Headers, body: Body, signal: AbortSignal): RequestInit => ({
  method,
  headers,
  body: body.content,
  signal,
  redirect: "manual",
  ...(body.content instanceof ReadableStream && { duplex: "half" }),
});

const isIdempotent = ({ method, headers }: Request): boolean =>
  method === "GET" || method === "HEAD" || headers.has("idempotency-key");

const sendTwice = async (
  send: () => Promise<Response>,
  signal: AbortSignal,
): Promise<Response> => {
  const first = await send().catch(() => undefined);
  if (first !== undefined && !RETRY_STATUSES.includes(first.status)) return first;
  await first?.body?.cancel();
  await pause(signal);
  return await send();
};

const pause = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, RETRY_PAUSE_MS);
    signal.addEventListener("abort", stop, { once: true });
  });

const relay = async (upstream: Response): Promise<Response> => {
  const { status, body, headers } = upstream;
  const isRedirect = status >= 300 && status < 400 && status !== 304;
  if (isRedirect || (status >= 400 && !isOurError(headers))) {
    await body?.cancel();
    throw isRedirect ? badGateway() : functionFailed(status, headers.get("retry-after"));
  }
  const content = EMPTY_STATUSES.includes(status) ? null : body;
  return new Response(content, { status, headers: responseHeaders(headers) });
};

const isOurError = (headers: Headers): boolean => {
  const [type = ""] = (headers.get("content-type") ?? "").split(";");
  return ERROR_TYPES.includes(type.trim().toLowerCase());
};
