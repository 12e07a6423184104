import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { routes, routesWithSweep } from "../auth-gateway/routes.ts";
import { authorization, type Lines, problem, testGateway, upstream } from "./doubles.ts";

const SECRET = "a sweep's secret: 32 characters".replaceAll(" ", "-") + "!";
const HERE = "https://project.example.com/functions/v1/auth-gateway";
const ADDRESS = `${HERE}/assistant/sweep`;
const opened = async (changes: Parameters<typeof testGateway>[0] = {}) => {
  const { seen, fetch } = upstream(() => Response.json({ dispatched: 2 }));
  const handle = await testGateway({
    fetch,
    routes: routesWithSweep,
    sweepSecret: SECRET,
    ...changes,
  });
  return { seen, handle };
};
const sweepRequest = (init: RequestInit = {}, address = ADDRESS) =>
  new Request(address, { method: "POST", ...init });
const headers = { "x-sweep-secret": SECRET };

Deno.test("a caller with the secret can sweep, without a user's token", async () => {
  const { seen, handle } = await opened();
  const response = await handle(sweepRequest({ headers }));
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), { dispatched: 2 });
  assert.equal(seen[0]?.url, "https://assistant.example.com/sweep");
  assert.equal(seen[0]?.init.method, "POST");
});

Deno.test("nothing of the caller is passed on: no header, no body, no query", async () => {
  const { seen, handle } = await opened();
  const sentHeaders = {
    ...headers,
    authorization: authorization(),
    "x-gateway-assertion": "forged",
    "content-type": "application/json",
    "idempotency-key": "k",
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    cookie: "a=b",
  };
  const response = await handle(
    sweepRequest({ headers: sentHeaders, body: "{}" }, `${ADDRESS}?limit=1`),
  );
  assert.equal(response.status, 200);
  assert.equal(seen[0]?.url, "https://assistant.example.com/sweep");
  assert.equal(seen[0]?.init.body, null);
  const sent = Object.fromEntries(seen[0]?.headers ?? []);
  const { "x-request-id": id, "x-gateway-assertion": assertion = "", ...rest } = sent;
  assert.equal(id, response.headers.get("x-request-id"));
  assert.deepEqual(rest, { "accept-encoding": "identity" });
  const { iat, exp, jti, ...claims } = decodeJwt(assertion);
  assert.ok(iat && exp && jti);
  assert.deepEqual(claims, {
    iss: "auth-gateway",
    aud: "assistant",
    sub: "sweep",
    session_id: "sweep",
    ath: "",
    htm: "POST",
    htu: "/sweep",
  });
});

const wrong: Record<string, HeadersInit> = {
  "no secret": {},
  "an empty secret": { "x-sweep-secret": "" },
  "a longer secret": { "x-sweep-secret": `${SECRET}x` },
  "a shorter secret": { "x-sweep-secret": SECRET.slice(0, -1) },
  "a secret of another case": { "x-sweep-secret": SECRET.toUpperCase() },
  "the secret twice": [["x-sweep-secret", SECRET], ["x-sweep-secret", SECRET]],
  "the secret and another": [["x-sweep-secret", SECRET], ["x-sweep-secret", "x"]],
  "the secret as a bearer token": { authorization: `Bearer ${SECRET}` },
  "a user's token": { authorization: authorization() },
};
for (const [name, given] of Object.entries(wrong)) {
  Deno.test(`${name} opens nothing`, async () => {
    const { seen, handle } = await opened();
    const response = await handle(sweepRequest({ headers: given }));
    assert.equal(response.status, 401);
    assert.equal((await problem(response)).code, "unauthorized");
    assert.deepEqual(seen, []);
  });
}

Deno.test("without a secret the address does not exist", async () => {
  const { seen, handle } = await opened({ routes, sweepSecret: undefined });
  const tries: HeadersInit[] = [
    {},
    { "x-sweep-secret": "" },
    { "x-sweep-secret": "undefined" },
    { authorization: authorization() },
  ];
  for (const given of tries) {
    const response = await handle(sweepRequest({ headers: given }));
    assert.equal(response.status, 404);
    assert.equal((await problem(response)).code, "not_found");
  }
  assert.deepEqual(seen, []);
});

Deno.test("a route without a secret refuses every caller", async () => {
  const { seen, handle } = await opened({ sweepSecret: undefined });
  for (const secret of ["", "undefined", SECRET]) {
    assert.equal(
      (await handle(sweepRequest({ headers: { "x-sweep-secret": secret } }))).status,
      401,
    );
  }
  assert.deepEqual(seen, []);
});

Deno.test("the secret opens no other address", async () => {
  const { seen, handle } = await opened();
  const unknownAddresses = [
    "/assistant/sweep/",
    "/assistant//sweep",
    "/assistant/Sweep",
    "/assistant/%73weep",
    "/%61gent/sweep",
    "/assistant/sweep/..",
    "/assistant/sweep%2f..",
    "/assistant/sweep;x=1",
    "/runner/sweep",
    "/runner/",
  ];
  for (const path of unknownAddresses) {
    const request = sweepRequest({ headers });
    // The URL as a server receives it: new Request() would normalize it.
    Object.defineProperty(request, "url", { value: `${HERE}${path}` });
    const response = await handle(request);
    assert.equal(response.status, 404, path);
    await problem(response);
  }
  for (const path of ["/runs", "/connect", "/runs/r1/cancel"]) {
    assert.equal((await handle(sweepRequest({ headers }, `${HERE}/assistant${path}`))).status, 401);
  }
  assert.deepEqual(seen, []);
});

for (const method of ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"]) {
  Deno.test(`${method} sweeps nothing`, async () => {
    const { seen, handle } = await opened();
    const response = await handle(sweepRequest({ method, headers }));
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "POST");
    assert.deepEqual(seen, []);
  });
}

Deno.test("no page can send the secret, and no page can read the response of a sweep", async () => {
  const origin = "https://app.example.com";
  const { seen, handle } = await opened({ allowedOrigins: [origin] });
  const preflightHeaders = {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "x-sweep-secret",
  };
  const preflight = await handle(sweepRequest({ method: "OPTIONS", headers: preflightHeaders }));
  const allowed = preflight.headers.get("access-control-allow-headers") ?? "";
  assert.ok(!allowed.includes("x-sweep-secret"), allowed);
  assert.equal((await handle(sweepRequest({ headers: { origin } }))).status, 401);
  assert.deepEqual(seen, []);
});

Deno.test("neither the secret nor a guess is in a log or a response", async () => {
  const lines: Lines = [];
  const { handle } = await opened({ lines });
  const guess = "g".repeat(32);
  const answers = [
    await handle(sweepRequest({ headers })),
    await handle(sweepRequest({ headers: { "x-sweep-secret": guess } })),
  ];
  const texts = JSON.stringify([lines, await Promise.all(answers.map((one) => one.text()))]);
  assert.ok(!texts.includes(SECRET) && !texts.includes(guess), texts);
  assert.deepEqual(lines.map(({ function: name, route, status }) => [name, route, status]), [
    ["assistant", "/sweep", 200],
    ["assistant", "/sweep", 401],
  ]);
});

Deno.test("the problem for a failed function does not contain its text", async () => {
  const { fetch } = upstream(() => new Response("trace", { status: 500 }));
  const { handle } = await opened({ fetch });
  const response = await handle(sweepRequest({ headers }));
  assert.equal(response.status, 500);
  assert.ok(!JSON.stringify(await problem(response)).includes("trace"));
});
