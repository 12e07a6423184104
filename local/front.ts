// The port of the local stack: what is under /functions/v1/ is the gateway's, as on Supabase, all else the page's.
// The gateway's own code runs here; like Supabase's runtime, this gives it a `Deno.serve` with something before it.

type Handler = (request: Request) => Response | Promise<Response>;

const page = Deno.env.get("PAGE_URL") ?? "";
const serve = Deno.serve;

const ask = (request: Request): Promise<Response> => {
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  // The page answers to the names of this port only, and must know by which it was called.
  headers.set("x-forwarded-host", request.headers.get("host") ?? "");
  const { method, body, signal } = request;
  return fetch(page + pathname + search, { method, headers, body, signal, redirect: "manual" });
};

const front = (options: Deno.ServeTcpOptions, gateway: Handler) =>
  serve(options, (request) => {
    const { pathname } = new URL(request.url);
    return pathname.startsWith("/functions/v1/") ? gateway(request) : ask(request);
  });

Deno.serve = front as typeof Deno.serve;
await import("../supabase/functions/auth-gateway/index.ts");
