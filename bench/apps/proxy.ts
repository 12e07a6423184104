// The least that a gateway on Deno can do: pass a request on, and its response back.
const upstream = `http://127.0.0.1:${Deno.env.get("BENCH_UPSTREAM_PORT")}`;

Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.env.get("PORT")), onListen() {} }, (request) => {
  const { pathname, search } = new URL(request.url);
  const { method, headers, body } = request;
  return fetch(upstream + pathname + search, { method, headers, body });
});
