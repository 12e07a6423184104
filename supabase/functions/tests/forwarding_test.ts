import assert from "node:assert/strict";
import {
  authorization,
  type Lines,
  problem,
  requestTo,
  soon,
  testGateway,
  upstream,
} from "./doubles.ts";

Deno.test("only headers on the list reach the function", async () => {
  const { seen, fetch } = upstream();
  const kept = {
    accept: "text/event-stream",
    "content-type": "application/json",
    "last-event-id": "1.7",
    "idempotency-key": "k1",
    "if-match": '"1"',
    "if-none-match": '"2"',
    prefer: "respond-async",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    tracestate: "a=b",
  };
  const dropped = {
    "x-gateway-assertion": "forged",
    "x-gateway-user": "admin",
    "x-supabase-user-id": "admin",
    "x-supabase-user-role": "service_role",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-host": "evil.example.com",
    forwarded: "for=10.0.0.1",
    "x-real-ip": "10.0.0.1",
    apikey: "sb_publishable_1",
    cookie: "session=1",
    connection: "authorization",
    "proxy-authorization": "Basic eA==",
    te: "trailers",
    upgrade: "websocket",
    "x-http-method-override": "DELETE",
    "x-original-url": "/connect",
    baggage: "user=admin",
    "user-agent": "test",
    range: "bytes=0-1",
  };
  await (await testGateway({ fetch }))(requestTo("/runs", { headers: { ...kept, ...dropped } }));
  const sent = Object.fromEntries(seen[0]?.headers ?? []);
  const { "x-request-id": id, "x-gateway-assertion": assertion, ...rest } = sent;
  assert.match(id ?? "", /^[0-9a-f-]{36}$/);
  assert.match(assertion ?? "", /^ey[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.deepEqual(rest, {
    ...kept,
    authorization: authorization(),
    "accept-encoding": "identity",
  });
});

for (const [given, isKept] of [["req_1.a-B", true], ["a".repeat(64), true]] as const) {
  Deno.test(`a clean request id (${given.length} characters) is kept: ${isKept}`, async () => {
    const { seen, fetch } = upstream();
    const response = await (await testGateway({ fetch }))(
      requestTo("/runs", { headers: { "x-request-id": given } }),
    );
    assert.equal(response.headers.get("x-request-id"), given);
    assert.equal(seen[0]?.headers.get("x-request-id"), given);
  });
}

for (const given of ["a".repeat(65), "a b", "a/b", "é", "a,b", '"a"', ""]) {
  Deno.test(`a request id ${JSON.stringify(given.slice(0, 9))} is replaced`, async () => {
    const response = await (await testGateway())(
      requestTo("/runs", { headers: { "x-request-id": given } }),
    );
    assert.match(response.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
  });
}

Deno.test("only headers on the list reach the caller", async () => {
  const kept = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "content-disposition": 'attachment; filename="t.md"',
    etag: '"1"',
    "retry-after": "3",
    "x-accel-buffering": "no",
  };
  const dropped = {
    "set-cookie": "a=b",
    server: "uvicorn",
    location: "http://10.0.0.1/",
    "content-encoding": "gzip",
    "access-control-allow-origin": "*",
    "x-request-id": "theirs",
    "x-powered-by": "x",
    vary: "*",
  };
  const { fetch } = upstream(() => new Response("x", { headers: { ...kept, ...dropped } }));
  const response = await (await testGateway({ fetch }))(
    requestTo("/runs", { headers: { "x-request-id": "mine" } }),
  );
  assert.deepEqual(Object.fromEntries(response.headers), {
    ...kept,
    "x-request-id": "mine",
    "x-content-type-options": "nosniff",
  });
});

for (
  const [location, isKept] of [
    ["threads/a%20b.c", true],
    ["/threads/t", false],
    ["//10.0.0.1/t", false],
    ["http:t", false],
    ["threads/t?x=1", false],
    ["", false],
  ] as const
) {
  Deno.test(`a location of ${location} is passed on: ${isKept}`, async () => {
    const { fetch } = upstream(() => Response.json({}, { status: 201, headers: { location } }));
    const response = await (await testGateway({ fetch }))(requestTo());
    assert.equal(response.headers.get("location"), isKept ? location : null);
  });
}

for (const status of [300, 301, 302, 303, 307, 308]) {
  Deno.test(`a redirect (${status}) of a function is not passed on`, async () => {
    const headers = { location: "http://10.0.0.1/secret", "content-type": "application/json" };
    const { seen, fetch } = upstream(() => new Response("{}", { status, headers }));
    const response = await (await testGateway({ fetch }))(requestTo());
    assert.equal(response.status, 502);
    assert.equal(response.headers.get("location"), null);
    assert.equal((await problem(response)).code, "bad_gateway");
    assert.equal(seen[0]?.init.redirect, "manual");
  });
}

for (const status of [204, 205, 304]) {
  Deno.test(`a response without a body (${status}) is passed on`, async () => {
    const { fetch } = upstream(() => new Response(null, { status, headers: { etag: '"1"' } }));
    const response = await (await testGateway({ fetch }))(requestTo("/runs/1", { method: "GET" }));
    assert.equal(response.status, status);
    assert.equal(response.headers.get("etag"), '"1"');
    assert.equal(response.body, null);
  });
}

for (const type of ["application/problem+json", "application/json; charset=utf-8"]) {
  Deno.test(`a function's error in ${type} is passed on`, async () => {
    const { fetch } = upstream(() =>
      new Response('{"code":"thread_busy"}', { status: 409, headers: { "content-type": type } })
    );
    const response = await (await testGateway({ fetch }))(requestTo());
    assert.equal(response.status, 409);
    assert.equal(await response.text(), '{"code":"thread_busy"}');
  });
}

for (
  const [status, code] of [[400, "bad_request"], [429, "too_many_requests"], [
    500,
    "internal_error",
  ]] as const
) {
  Deno.test(`a function's error in any other form (${status}) is replaced`, async () => {
    const secret = "Traceback: /app/secret.py";
    const headers = { "content-type": "text/html", "retry-after": "7" };
    const { fetch } = upstream(() => new Response(secret, { status, headers }));
    const response = await (await testGateway({ fetch }))(requestTo());
    assert.equal(response.status, status);
    assert.equal(response.headers.get("retry-after"), "7");
    const body = await problem(response);
    assert.equal(body.code, code);
    assert.ok(!JSON.stringify(body).includes("Traceback"));
  });
}

Deno.test("a function that cannot be reached is unavailable, without its address", async () => {
  const { fetch } = upstream(() => Promise.reject(new TypeError("connect 10.0.0.1:80 refused")));
  const response = await (await testGateway({ fetch }))(requestTo());
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "2");
  const body = await problem(response);
  assert.equal(body.code, "unavailable");
  assert.ok(!JSON.stringify(body).includes("10.0.0.1"));
});

Deno.test("the problem for an internal failure reveals nothing about it", async () => {
  const lines: Lines = [];
  const mint = () => Promise.reject(new Error("secret"));
  const response = await (await testGateway({ mint, lines }))(requestTo());
  assert.equal(response.status, 500);
  assert.equal((await problem(response)).code, "internal_error");
  assert.ok(!JSON.stringify(lines).includes("secret"));
  assert.equal(lines[0]?.event, "gateway.failed");
});

const GET = { method: "GET" };
const KEYED = { headers: { "idempotency-key": "k", "content-length": "2" }, body: "{}" };
const failures: [string, () => Response | Promise<Response>][] = [
  ["refused connection", () => Promise.reject(new TypeError("refused"))],
  ["502", () => new Response("x", { status: 502 })],
  ["503", () => new Response("x", { status: 503 })],
  ["504", () => Response.json({}, { status: 504 })],
];
for (const [name, fail] of failures) {
  for (
    const [kind, path, init] of [["GET", "/runs/1", GET], ["keyed POST", "/runs", KEYED]] as const
  ) {
    Deno.test(`a ${kind} is sent once more after a ${name}`, async () => {
      const { seen, fetch } = upstream((_, count) => count === 1 ? fail() : Response.json({}));
      const response = await soon((await testGateway({ fetch }))(requestTo(path, init)));
      assert.equal(response.status, 200);
      assert.equal(seen.length, 2);
      assert.equal(await bodyOf(seen[0]?.init), await bodyOf(seen[1]?.init));
      assert.equal(await bodyOf(seen[1]?.init), kind === "GET" ? "" : "{}");
    });
  }

  for (const body of ["{}", undefined]) {
    Deno.test(`a POST of ${body} without a key is sent once, also after: ${name}`, async () => {
      const { seen, fetch } = upstream(fail);
      const response = await (await testGateway({ fetch }))(requestTo("/runs", { body }));
      assert.ok(response.status >= 502);
      assert.equal(seen.length, 1);
    });
  }
}

const bodyOf = (init: RequestInit | undefined) => new Response(init?.body).text();

Deno.test("a second failure is the response", async () => {
  const { seen, fetch } = upstream(() => new Response("x", { status: 503 }));
  const response = await (await testGateway({ fetch }))(requestTo("/runs/1", GET));
  assert.equal(response.status, 503);
  assert.equal(seen.length, 2);
});

for (const status of [500, 404, 429]) {
  Deno.test(`a ${status} is passed on without a retry`, async () => {
    const { seen, fetch } = upstream(() => Response.json({}, { status }));
    assert.equal((await (await testGateway({ fetch }))(requestTo("/runs/1", GET))).status, status);
    assert.equal(seen.length, 1);
  });
}

Deno.test("a keyed POST with a body of unknown length is not kept for a retry", async () => {
  const { seen, fetch } = upstream(() => new Response("x", { status: 503 }));
  const init = { headers: { "idempotency-key": "k" }, body: "{}" };
  assert.equal((await (await testGateway({ fetch }))(requestTo("/runs", init))).status, 503);
  assert.equal(seen.length, 1);
  assert.ok(seen[0]?.init.body instanceof ReadableStream);
});

Deno.test("a request is one line of the log, without token, query or id", async () => {
  const lines: Lines = [];
  const handle = await testGateway({ lines });
  const init = { method: "GET", headers: { "x-request-id": "r" } };
  await handle(requestTo("/runs/secret-id/events?after=secret-query", init));
  await handle(
    requestTo("/secret-path", { ...init, headers: { ...init.headers, cookie: "secret" } }),
  );
  const plain = lines.map(({ ms, ...line }) => {
    assert.equal(typeof ms, "number");
    return line;
  });
  assert.deepEqual(plain, [
    {
      event: "gateway.answered",
      request_id: "r",
      function: "assistant",
      method: "GET",
      route: "/runs/{id}/events",
      status: 200,
    },
    {
      event: "gateway.answered",
      request_id: "r",
      function: undefined,
      method: "GET",
      route: undefined,
      status: 404,
    },
  ]);
});
