// The public port of the local stack: paths below /functions/v1/ go to the gateway, as on Supabase, all others to the
// page's server. The gateway's code runs unchanged: this replaces `Deno.serve` before the gateway is imported.

type Handler = (request: Request) => Response | Promise<Response>;

const page = Deno.env.get("PAGE_URL") ?? "";
const serve = Deno.serve;

const fetchPage = (request: Request): Promise<Response> => {
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  // The page's server checks the Host that the browser used.
  headers.set("x-forwarded-host", request.headers.get("host") ?? "");
  const { method, body, signal } = request;
  return fetch(page + pathname + search, { method, headers, body, signal, redirect: "manual" });
};

const front = (options: Deno.ServeTcpOptions, gateway: Handler) =>
  serve(options, (request) => {
    const { pathname } = new URL(request.url);
    return pathname.startsWith("/functions/v1/") ? gateway(request) : fetchPage(request);
  });

Deno.serve = front as typeof Deno.serve;
await import("../supabase/functions/auth-gateway/index.ts");
