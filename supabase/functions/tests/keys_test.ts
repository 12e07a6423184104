import assert from "node:assert/strict";
import { importKey, parseKeys, remoteKeys } from "../auth-gateway/keys.ts";
import { golden, soon, upstream } from "./doubles.ts";

const ALL = JSON.stringify(golden.jwks);
const URL = "https://project.example.com/auth/v1/.well-known/jwks.json";

const setUp = (answer: () => Response | Promise<Response> = () => new Response(ALL)) => {
  const clock = { now: golden.now };
  const lines: Record<string, unknown>[] = [];
  const { seen, fetch } = upstream(() => answer());
  const keys = remoteKeys({
    url: URL,
    fetch,
    now: () => clock.now,
    log: (line) => lines.push(line),
  });
  return { clock, lines, seen, keys };
};

Deno.test("keys are fetched once for many callers", async () => {
  const { keys, seen } = setUp();
  const found = await Promise.all(Array.from({ length: 20 }, () => keys("ES256", "user-ec")));
  assert.ok(found.every((key) => key !== undefined));
  assert.ok(await keys("RS256", "user-rsa"));
  assert.deepEqual(seen.map(({ url }) => url), [URL]);
});

Deno.test("keys are fetched again when they are ten minutes old", async () => {
  const { keys, seen, clock } = setUp();
  await keys("ES256", "user-ec");
  clock.now += 599;
  await keys("ES256", "user-ec");
  assert.equal(seen.length, 1);
  clock.now += 1;
  await keys("ES256", "user-ec");
  assert.equal(seen.length, 2);
});

Deno.test("a flood of unknown key ids costs one fetch per cooldown", async () => {
  const { keys, seen, clock } = setUp();
  await keys("ES256", "user-ec");
  clock.now += 30;
  for (let at = 0; at < 50; at += 1) assert.equal(await keys("ES256", `unknown-${at}`), undefined);
  assert.equal(seen.length, 2);
});

Deno.test("a new key is found after the cooldown", async () => {
  let text = JSON.stringify({
    keys: golden.jwks.keys.filter(({ kid }) => kid !== "user-ec-next"),
  });
  const { keys, clock } = setUp(() => new Response(text));
  await keys("ES256", "user-ec");
  text = ALL;
  assert.equal(await keys("ES256", "user-ec-next"), undefined);
  clock.now += 30;
  assert.ok(await keys("ES256", "user-ec-next"));
});

for (
  const [name, answer] of [
    ["an error", () => new Response(ALL, { status: 500 })],
    ["text", () => new Response("<html>")],
    ["no keys", () => Response.json({})],
    ["null", () => Response.json(null)],
    ["a broken connection", () => Promise.reject(new TypeError("refused"))],
  ] as const
) {
  Deno.test(`a key server that answers with ${name} gets one request per cooldown`, async () => {
    let current: () => Response | Promise<Response> = answer;
    const { keys, seen, clock, lines } = setUp(() => current());
    for (let at = 0; at < 20; at += 1) assert.equal(await keys("ES256", "user-ec"), undefined);
    assert.equal(seen.length, 1);
    assert.deepEqual(lines, [{ event: "jwks.unavailable" }]);
    current = () => new Response(ALL);
    clock.now += 30;
    assert.ok(await keys("ES256", "user-ec"));
  });
}

Deno.test("old keys stay good for an hour while the key server fails", async () => {
  let status = 200;
  const { keys, clock } = setUp(() => new Response(ALL, { status }));
  await keys("ES256", "user-ec");
  status = 503;
  clock.now += 3599;
  assert.ok(await keys("ES256", "user-ec"));
  clock.now += 1;
  assert.equal(await keys("ES256", "user-ec"), undefined);
});

Deno.test("a clock that was set back does not keep old keys", async () => {
  const { keys, clock, seen } = setUp();
  await keys("ES256", "user-ec");
  clock.now -= 100_000;
  await keys("ES256", "user-ec");
  assert.equal(seen.length, 2);
});

Deno.test("a fetch of keys has a time-out and follows no redirect", async () => {
  const { keys, seen } = setUp();
  await soon(keys("ES256", "user-ec"));
  assert.equal(seen[0]?.init.redirect, "error");
  assert.ok(seen[0]?.init.signal instanceof AbortSignal);
});

Deno.test("private, symmetric and encryption keys are left out, and a broken one does not affect the others", async () => {
  const names = [...(await parseKeys(ALL)).keys()].filter((name) => name !== "ES256 broken");
  assert.deepEqual(names.sort(), ["ES256 user-ec", "ES256 user-ec-next", "RS256 user-rsa"]);
});

Deno.test("a key that names both operations, as the CLI writes it, is used for one", async () => {
  const both = {
    ...golden.gateway_signing_key,
    key_ops: ["sign", "verify"],
    use: "sig",
    ext: true,
  };
  const { d: _, ...open } = both;
  const data = new TextEncoder().encode("text");
  const ecdsa = { name: "ECDSA", hash: "SHA-256" };
  const [privateKey, publicKey] = await Promise.all([
    importKey(both, "ES256", "sign"),
    importKey(open, "ES256", "verify"),
  ]) as [CryptoKey, CryptoKey];
  const signature = await crypto.subtle.sign(ecdsa, privateKey, data);
  assert.ok(await crypto.subtle.verify(ecdsa, publicKey, signature, data));
});

Deno.test("a key for another operation is ignored", async () => {
  const { d: _, ...open } = golden.gateway_signing_key;
  const names = (operation: string) =>
    parseKeys(JSON.stringify({ keys: [{ ...open, key_ops: [operation] }] }));
  assert.equal((await names("verify")).size, 1);
  assert.equal((await names("sign")).size, 0);
});
