import assert from "node:assert/strict";
import { base64url, compactVerify, importJWK } from "jose";
import { minter } from "../auth-gateway/assertions.ts";
import { inlineKeys, type Keys, parseKeys } from "../auth-gateway/keys.ts";
import {
  authorization,
  golden,
  type Lines,
  problem,
  requestTo,
  soon,
  testGateway,
  upstream,
} from "./doubles.ts";

const request = (values: string[]): Request => {
  const headers = new Headers();
  for (const value of values) headers.append("authorization", value);
  return new Request("http://127.0.0.1/auth-gateway/assistant/runs", { method: "POST", headers });
};

for (const one of golden.tokens) {
  const legacySecret = one.legacy ? golden.legacy_secret : undefined;
  if (one.accepted) {
    Deno.test(`${one.name} is accepted, and its assertion names the same user`, async () => {
      const { seen, fetch } = upstream();
      const handle = await testGateway({ fetch, legacySecret });
      assert.equal((await soon(handle(request(one.authorization)))).status, 200);
      const claims = await assertionOf(seen[0]?.headers);
      assert.equal(String(claims.sub).toLowerCase(), one.principal?.sub);
      assert.equal(claims.session_id, one.principal?.session_id);
    });
  } else {
    Deno.test(`${one.name} is refused without a reason`, async () => {
      const { seen, fetch } = upstream();
      const handle = await testGateway({ fetch, legacySecret });
      const response = await soon(handle(request(one.authorization)));
      const { code, detail } = await problem(response);
      assert.equal(seen.length, 0);
      if (one.name === "a token over 8 KiB") {
        assert.equal(response.status, 431);
        assert.equal(code, "token_too_large");
        assert.match(String(detail), /larger than 8192 bytes/);
        return;
      }
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
      assert.equal(code, "unauthorized");
      assert.equal(detail, "The request carries no valid proof of who sends it.");
    });
  }
}

Deno.test("the log has the reason of every refused token", async () => {
  for (const one of golden.tokens.filter(({ accepted }) => !accepted)) {
    const lines: Lines = [];
    const legacySecret = one.legacy ? golden.legacy_secret : undefined;
    const handle = await testGateway({ legacySecret, lines });
    await soon(handle(request(one.authorization)));
    const [line] = lines.filter(({ event }) => event === "gateway.answered");
    assert.match(String(line?.reason), /^token\.[a-z_0-9]+$/, one.name);
  }
});

for (
  const [name, reason] of Object.entries({
    "no header": "missing",
    "another scheme": "malformed",
    "a token over 8 KiB": "too_large",
  })
) {
  Deno.test(`${name} is logged as ${reason}`, async () => {
    const lines: Lines = [];
    const one = golden.tokens.find((each) => each.name === name);
    await soon((await testGateway({ lines }))(request(one?.authorization ?? [])));
    assert.equal(lines.at(-1)?.reason, `token.${reason}`);
  });
}

const assertionOf = async (headers: Headers | undefined): Promise<Record<string, unknown>> => {
  const key = await importJWK(golden.gateway_jwks.keys[0] ?? {}, "ES256");
  const assertion = headers?.get("x-gateway-assertion") ?? "";
  const { payload, protectedHeader } = await compactVerify(assertion, key);
  assert.deepEqual(protectedHeader, { typ: "gw+jwt", alg: "ES256", kid: "gateway" });
  return JSON.parse(new TextDecoder().decode(payload));
};

Deno.test("an assertion names function, caller, token, method and path", async () => {
  const { seen, fetch } = upstream();
  const handle = await testGateway({ fetch });
  await handle(requestTo("/runs/a%20b%3Ac/events?after=1.2", { method: "GET" }));
  const { jti, ...claims } = await assertionOf(seen[0]?.headers);
  const token = authorization().slice("Bearer ".length);
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  assert.match(String(jti), /^[0-9a-f-]{36}$/);
  assert.deepEqual(claims, {
    iss: "auth-gateway",
    aud: "assistant",
    sub: "6f9619ff-8b86-4011-b42d-00c04fc964ff",
    session_id: "1c0b5c3e-6f0a-4d6a-9f58-1f5f7d4e0a11",
    ath: base64url.encode(new Uint8Array(hash)),
    htm: "GET",
    htu: "/runs/a%20b%3Ac/events",
    iat: golden.now,
    exp: golden.now + 150,
  });
});

for (const [headerTimeoutSeconds, reuse] of [[140, 10], [60, 30], [150, 0]] as const) {
  Deno.test(`an assertion always outlives a header time-out of ${headerTimeoutSeconds} s`, async () => {
    let now = golden.now;
    const key = golden.gateway_signing_key;
    const mint = await minter({ key, headerTimeoutSeconds, now: () => now });
    const { seen, fetch } = upstream();
    const handle = await testGateway({ fetch, mint, now: () => now });
    for (; now < golden.now + 45; now += 5) await handle(requestTo());
    const sent = await Promise.all(seen.map(({ headers }) => assertionOf(headers)));
    sent.forEach(({ iat, exp }, at) => {
      assert.ok(Number(exp) >= golden.now + at * 5 + headerTimeoutSeconds);
      assert.ok(Number(exp) - Number(iat) <= 150);
    });
    const fresh = new Set(sent.map(({ jti }) => jti)).size;
    assert.equal(fresh, reuse === 0 ? 9 : Math.ceil(45 / reuse));
  });
}

Deno.test("an assertion is not used again for another path, method or token", async () => {
  const { seen, fetch } = upstream();
  const handle = await testGateway({ fetch });
  await handle(requestTo("/runs"));
  await handle(requestTo("/connect"));
  await handle(requestTo("/runs", { headers: { authorization: authorization("an RS256 token") } }));
  await handle(requestTo("/runs/1", { method: "GET" }));
  const sent = new Set(seen.map(({ headers }) => headers.get("x-gateway-assertion")));
  assert.equal(sent.size, 4);
});

Deno.test("a verified token is cached for a minute, and not beyond its expiry", async () => {
  let now = golden.now;
  let lookups = 0;
  const fixed = inlineKeys(await parseKeys(JSON.stringify(golden.jwks)));
  const keys: Keys = (alg, kid) => {
    lookups += 1;
    return fixed(alg, kid);
  };
  const handle = await testGateway({ keys, now: () => now });
  for (; now < golden.now + 60; now += 10) await handle(requestTo());
  assert.equal(lookups, 1);
  await handle(requestTo());
  assert.equal(lookups, 2);
  now = golden.now;
  const last = { headers: { authorization: authorization("a token in its last second") } };
  assert.equal((await handle(requestTo("/runs", last))).status, 200);
  now += 1;
  assert.equal((await handle(requestTo("/runs", last))).status, 401);
});
