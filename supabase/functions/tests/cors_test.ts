import assert from "node:assert/strict";
import { BASE, problem, requestTo, testGateway } from "./doubles.ts";

const APP = "https://app.example.com";
const allowedOrigins = [APP, "http://localhost:3000"];
const preflight = (origin: string, path = "/runs") =>
  new Request(`${BASE}${path}`, {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "POST" },
  });

Deno.test("a preflight of a listed origin needs no token", async () => {
  const response = await (await testGateway({ allowedOrigins }))(preflight(APP));
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), APP);
  assert.equal(response.headers.get("vary"), "Origin");
  assert.equal(response.headers.get("access-control-allow-methods"), "POST, GET, PATCH, DELETE");
  assert.equal(response.headers.get("access-control-allow-credentials"), null);
});

const allowed = async (allowedHeaders?: string[]): Promise<string[]> => {
  const response = await (await testGateway({ allowedOrigins, allowedHeaders }))(preflight(APP));
  return (response.headers.get("access-control-allow-headers") ?? "").split(", ");
};

Deno.test("a page may send what functions read", async () => {
  const names = await allowed();
  for (
    const name of [
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
    ]
  ) {
    assert.ok(names.includes(name), name);
  }
});

Deno.test("a setting adds headers, each once", async () => {
  const names = await allowed(["x-app-version", "x-region"]);
  assert.deepEqual(names, [...await allowed(), "x-app-version"]);
  assert.equal(new Set(names).size, names.length);
});

for (
  const origin of [
    "https://evil.example.com",
    `${APP}.evil.example.com`,
    `${APP}:444`,
    "http://app.example.com",
    "null",
    "*",
    APP.toUpperCase(),
  ]
) {
  Deno.test(`a preflight of ${origin} gets no permission`, async () => {
    const response = await (await testGateway({ allowedOrigins }))(preflight(origin));
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("access-control-allow-origin"), null);
    assert.equal(response.headers.get("access-control-allow-methods"), null);
    assert.equal(response.headers.get("vary"), "Origin");
  });
}

Deno.test("a listed origin can read responses and problems", async () => {
  const handle = await testGateway({ allowedOrigins });
  const headers = { origin: APP };
  for (
    const [request, status] of [
      [requestTo("/runs", { headers }), 200],
      [requestTo("/runs", { headers: { ...headers, authorization: "Bearer x" } }), 401],
      [requestTo("/nowhere", { headers }), 404],
      [requestTo("/runs", { headers, method: "GET" }), 405],
    ] as const
  ) {
    const response = await handle(request);
    assert.equal(response.status, status);
    assert.equal(response.headers.get("access-control-allow-origin"), APP);
    assert.equal(
      response.headers.get("access-control-expose-headers"),
      "x-request-id, retry-after, ratelimit, ratelimit-policy, etag, location, content-disposition",
    );
    assert.equal(response.headers.get("vary"), "Origin");
    if (status !== 200) await problem(response);
  }
});

Deno.test("an origin that is not listed gets a response without CORS headers", async () => {
  const handle = await testGateway({ allowedOrigins });
  const response = await handle(
    requestTo("/runs", { headers: { origin: "https://evil.example.com" } }),
  );
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  assert.equal(response.headers.get("vary"), "Origin");
});

Deno.test("without listed origins there is no CORS", async () => {
  const handle = await testGateway();
  assert.equal((await handle(preflight(APP))).status, 405);
  const response = await handle(requestTo("/runs", { headers: { origin: APP } }));
  assert.equal(response.headers.get("vary"), null);
  assert.equal(response.headers.get("access-control-allow-origin"), null);
});
