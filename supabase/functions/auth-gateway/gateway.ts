import { type Destination, destination } from "./addresses.ts";
import type { Mint } from "./assertions.ts";
import { cors } from "./cors.ts";
import { requestHeaders, requestId } from "./headers.ts";
import type { Keys } from "./keys.ts";
import { internalError, problemResponse, Refusal } from "./problems.ts";
import type { Routes } from "./routes.ts";
import { isSweep, sweepHeaders } from "./sweep.ts";
import { verifier } from "./tokens.ts";
import { forward, type Limits } from "./upstream.ts";

export type Collaborators = {
  keys: Keys;
  issuer: string;
  routes: Routes;
  /** The origin of each function. */
  origins: Readonly<Record<string, string>>;
  allowedOrigins: readonly string[];
  /** Headers that pages may send besides the known ones. */
  allowedHeaders?: readonly string[] | undefined;
  mint: Mint;
  /** Lets a schedule send sweeps; without it, the gateway refuses them. */
  sweepSecret?: string | undefined;
  limits: Limits;
  fetch: typeof fetch;
  /** Seconds since 1970. */
  now: () => number;
  log: (line: Record<string, unknown>) => void;
};

/** The gateway: authenticates, routes and forwards. All dependencies are parameters. */
export const gateway = (deps: Collaborators): (request: Request) => Promise<Response> => {
  const { routes, log } = deps;
  const { preflight, allow } = cors(deps.allowedOrigins, routes, deps.allowedHeaders);
  const verify = verifier(deps);

  const sweep = async (request: Request, to: Destination, id: string): Promise<Response> => {
    const secret = deps.sweepSecret;
    const headers = await sweepHeaders(request.headers, to, id, { secret, mint: deps.mint });
    const bare = new Request(request.url, { method: "POST", signal: request.signal });
    return await forward(bare, target({ ...to, query: "" }, deps.origins), headers, deps);
  };

  const serve = async (request: Request, to: Destination, id: string): Promise<Response> => {
    if (isSweep(to)) return await sweep(request, to, id);
    const caller = await verify(request.headers.get("authorization"));
    const { method, headers } = request;
    const assertion = await deps.mint({ ...caller, function: to.function, method, path: to.path });
    return await forward(
      request,
      target(to, deps.origins),
      requestHeaders(headers, id, assertion),
      deps,
    );
  };

  const answer = async (request: Request, id: string): Promise<Answer> => {
    let to: Destination | undefined;
    try {
      to = destination(routes, request);
      return { to, response: await serve(request, to, id) };
    } catch (error) {
      const refusal = error instanceof Refusal ? error : internalError();
      // Only the kind of error: its message may contain data of the caller.
      if (refusal !== error) log({ event: "gateway.failed", request_id: id, error: nameOf(error) });
      return { to, response: problemResponse(refusal, id), reason: refusal.reason };
    }
  };

  return async (request) => {
    const started = performance.now();
    const preflightResponse = preflight(request);
    if (preflightResponse !== undefined) return preflightResponse;
    const id = requestId(request.headers);
    const { to, response, reason } = await answer(request, id);
    response.headers.set("x-request-id", id);
    response.headers.set("x-content-type-options", "nosniff");
    allow(request, response.headers);
    log({
      event: "gateway.answered",
      request_id: id,
      function: to?.function,
      method: request.method,
      route: to?.route,
      status: response.status,
      ...(reason === undefined ? {} : { reason }),
      ms: Math.round(performance.now() - started),
    });
    return response;
  };
};

type Answer = { to: Destination | undefined; response: Response; reason?: string | undefined };

const target = (to: Destination, origins: Collaborators["origins"]): URL => {
  const url = new URL(origins[to.function] ?? "");
  url.pathname = to.path;
  url.search = to.query;
  // The signed path must be the sent path.
  if (url.pathname !== to.path) throw internalError();
  return url;
};

const nameOf = (error: unknown): string => error instanceof Error ? error.name : typeof error;
