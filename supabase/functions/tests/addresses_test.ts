import assert from "node:assert/strict";
import { authorization, problem, testGateway, upstream } from "./doubles.ts";

const send = async (address: string, method: string) => {
  const { seen, fetch } = upstream();
  const handle = await testGateway({ fetch });
  // The URL as a server receives it: new Request() would normalize it.
  const request = new Request("http://127.0.0.1/", {
    method,
    headers: { authorization: authorization() },
  });
  Object.defineProperty(request, "url", { value: address });
  const response = await handle(request);
  return { response, url: seen[0]?.url };
};

const HERE = "http://127.0.0.1:8000/functions/v1/auth-gateway";

for (
  const [address, method, expected] of [
    [`${HERE}/assistant/runs`, "POST", "/runs"],
    [`${HERE}/assistant/connect`, "POST", "/connect"],
    [`${HERE}/assistant/runs/r1`, "GET", "/runs/r1"],
    [`${HERE}/assistant/runs/r1/events`, "GET", "/runs/r1/events"],
    [`${HERE}/assistant/runs/r1/events?after=1.2&x=%20`, "GET", "/runs/r1/events?after=1.2&x=%20"],
    [`${HERE}/assistant/runs/r1/cancel`, "POST", "/runs/r1/cancel"],
    ["http://edge/auth-gateway/assistant/runs", "POST", "/runs"],
    ["http://edge/some/prefix/functions/v1/auth-gateway/assistant/runs", "POST", "/runs"],
    [`${HERE}/assistant/runs/a%20b%3Ac`, "GET", "/runs/a%20b%3Ac"],
    [`${HERE}/assistant/runs/%E2%82%AC`, "GET", "/runs/%E2%82%AC"],
    [`${HERE}/assistant/runs/a.b..c`, "GET", "/runs/a.b..c"],
    [`${HERE}/assistant/runs/~!$&'()*+,;=:@-_`, "GET", "/runs/~!$&'()*+,;=:@-_"],
    [`${HERE}/assistant/runs/${"x".repeat(384)}`, "GET", `/runs/${"x".repeat(384)}`],
    [`${HERE}/assistant/runs/cancel/cancel`, "POST", "/runs/cancel/cancel"],
  ] as const
) {
  Deno.test(`${method} ${address.slice(0, 90)} reaches its function`, async () => {
    const { response, url } = await send(address, method);
    assert.equal(response.status, 200);
    assert.equal(url, `https://assistant.example.com${expected}`);
  });
}

for (
  const [path, method] of [
    ["/threads?metadata=%7B%7D", "GET"],
    ["/threads", "POST"],
    ["/threads/t", "GET"],
    ["/threads/t", "PATCH"],
    ["/threads/t", "DELETE"],
    ["/threads/t/items?order=desc", "GET"],
    ["/threads/t/runs", "GET"],
    ["/threads/t/runs/r/log", "GET"],
    ["/threads/t/export?format=markdown", "GET"],
    ["/search?q=a%20b", "GET"],
    ["/me", "DELETE"],
    ["/me/export", "GET"],
    ["/openapi.json", "GET"],
  ] as const
) {
  Deno.test(`${method} ${path} of threads reaches it`, async () => {
    const { response, url } = await send(`${HERE}/threads${path}`, method);
    assert.equal(response.status, 200);
    assert.equal(url, `https://threads.example.com${path}`);
  });
}

const unknownAddresses = [
  "",
  "/",
  "/assistant",
  "/assistant/",
  "/assistant/run",
  "/assistant/runs/",
  "/assistant//runs",
  "/assistant/runs/a/b/c",
  "/assistant/runs/r1/events/",
  "/assistant/Runs",
  "/Agent/runs",
  "/unknown/runs",
  "/constructor/runs",
  "/__proto__/runs",
  "/toString/length",
  "/assistant/toString",
  "/assistant/runs/.",
  "/assistant/runs/..",
  "/assistant/runs/%2e",
  "/assistant/runs/%2E%2e",
  "/assistant/runs/.%2e/events",
  "/assistant/runs/../connect",
  "/assistant/runs/a%2fb",
  "/assistant/runs/a%2Fb",
  "/assistant/runs/a%5cb",
  "/assistant/runs/a%5Cb",
  "/assistant/runs/a\\b",
  "/assistant/runs/a%00",
  "/assistant/runs/a%0d%0aX:1",
  "/assistant/runs/a%7f",
  "/assistant/runs/a%C2%85",
  "/assistant/runs/%",
  "/assistant/runs/%4",
  "/assistant/runs/%zz",
  "/assistant/runs/%ff",
  "/assistant/runs/%C0%AE",
  "/assistant/runs/%ED%A0%80",
  "/assistant/runs/a b",
  "/assistant/runs/a^b",
  "/assistant/runs/a{b}",
  "/assistant/runs/é",
  `/assistant/runs/${"x".repeat(385)}`,
  "/assistant/%72uns",
  "/%61gent/runs",
  "/../auth-gateway/assistant/../threads/runs",
  "/assistant@attacker.example.com/runs",
  "//attacker.example.com/runs",
].map((path) => `${HERE}${path}`);

for (
  const address of [
    ...unknownAddresses,
    "http://edge/",
    "http://edge//attacker.example.com/auth-gateway/assistant/runs",
    "http://edge/other/auth-gateway/assistant/runs",
    "http://edge/../functions/v1/auth-gateway/assistant/runs",
    "http://edge/x/../functions/v1/auth-gateway/assistant/runs",
    "http://edge/%2e%2e/functions/v1/auth-gateway/assistant/runs",
    "http://edge/functions/v1/auth-gateway-2/assistant/runs",
    "http://edge/functions/v1//auth-gateway/assistant/runs",
    "/auth-gateway/assistant/runs",
    "*",
  ]
) {
  Deno.test(`${JSON.stringify(address).slice(0, 90)} is no address`, async () => {
    for (const method of ["GET", "POST"]) {
      const { response, url } = await send(address, method);
      assert.equal(response.status, 404);
      assert.equal((await problem(response)).code, "not_found");
      assert.equal(url, undefined);
    }
  });
}

for (
  const [path, method, allowed] of [
    ["/runs", "GET", "POST"],
    ["/runs", "HEAD", "POST"],
    ["/runs", "OPTIONS", "POST"],
    ["/runs/r1", "POST", "GET"],
    ["/runs/r1", "DELETE", "GET"],
    ["/connect", "PUT", "POST"],
  ] as const
) {
  Deno.test(`${method} ${path} gets the methods of the address`, async () => {
    const { response } = await send(`${HERE}/assistant${path}`, method);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), allowed);
    if (method !== "HEAD") assert.equal((await problem(response)).code, "method_not_allowed");
  });
}
