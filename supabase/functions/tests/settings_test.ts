import assert from "node:assert/strict";
import { SettingError, settingsFrom } from "../auth-gateway/settings.ts";
import { golden } from "./doubles.ts";

const GOOD = {
  FASTAPI_ORIGIN_URL: "https://{function}.agent-backend.example.com",
  SUPABASE_URL: "https://project.example.com",
  GATEWAY_SIGNING_KEY: JSON.stringify(golden.gateway_signing_key),
};
const read = (changes: Record<string, string | undefined> = {}) => {
  const env: Record<string, string | undefined> = { ...GOOD, ...changes };
  return settingsFrom((name) => env[name], ["assistant", "two-words"]);
};

Deno.test("three settings are enough", () => {
  const { signingKey, ...settings } = read();
  assert.equal(signingKey.kid, "gateway");
  assert.deepEqual(settings, {
    origins: {
      assistant: "https://assistant.agent-backend.example.com",
      "two-words": "https://two-words.agent-backend.example.com",
    },
    issuer: "https://project.example.com/auth/v1",
    jwksUrl: "https://project.example.com/auth/v1/.well-known/jwks.json",
    jwks: undefined,
    legacySecret: undefined,
    sweepSecret: undefined,
    allowedOrigins: [],
    allowedHeaders: [],
    limits: { maxBodyBytes: 4194304, headerTimeoutSeconds: 140 },
    port: 8000,
    host: "0.0.0.0",
  });
});

Deno.test("the schedule's secret is used unchanged, and an empty one is none", () => {
  assert.equal(read({ SWEEP_SECRET: "s".repeat(32) }).sweepSecret, "s".repeat(32));
  assert.equal(read({ SWEEP_SECRET: "" }).sweepSecret, undefined);
});

Deno.test("each function can have an address of its own", () => {
  const own = { FASTAPI_ORIGIN_URL_TWO_WORDS: "http://127.0.0.1:9001" };
  assert.equal(read(own).origins["two-words"], "http://127.0.0.1:9001");
  assert.equal(read(own).origins.assistant, "https://assistant.agent-backend.example.com");
  const all = {
    ...own,
    FASTAPI_ORIGIN_URL_ASSISTANT: "http://127.0.0.1:9000",
    FASTAPI_ORIGIN_URL: "",
  };
  assert.equal(read(all).origins.assistant, "http://127.0.0.1:9000");
});

Deno.test("lists and numbers are read", () => {
  const settings = read({
    ALLOWED_ORIGINS: " https://a.example.com, capacitor://localhost ,",
    ALLOWED_HEADERS: "X-A, x-b,",
    MAX_BODY_BYTES: "10",
    HEADER_TIMEOUT_SECONDS: "150",
    PORT: "0",
    HOST: "127.0.0.1",
    SUPABASE_URL: "http://127.0.0.1:54321/",
  });
  assert.deepEqual(settings.allowedOrigins, ["https://a.example.com", "capacitor://localhost"]);
  assert.deepEqual(settings.allowedHeaders, ["x-a", "x-b"]);
  assert.deepEqual(settings.limits, { maxBodyBytes: 10, headerTimeoutSeconds: 150 });
  assert.equal(settings.port, 0);
  assert.equal(settings.issuer, "http://127.0.0.1:54321/auth/v1");
});

const key = golden.gateway_signing_key;
const wrong: [string, string | undefined][] = [
  ["FASTAPI_ORIGIN_URL", undefined],
  ["FASTAPI_ORIGIN_URL", "https://assistant.example.com"],
  ["FASTAPI_ORIGIN_URL", "{function}.example.com"],
  ["FASTAPI_ORIGIN_URL", "ftp://{function}.example.com"],
  ["FASTAPI_ORIGIN_URL", "https://{function}.example.com/api"],
  ["FASTAPI_ORIGIN_URL", "https://example.com/{function}"],
  ["FASTAPI_ORIGIN_URL", "https://user:pass@{function}.example.com"],
  ["FASTAPI_ORIGIN_URL", "https://{function}.example.com?x=1"],
  ["FASTAPI_ORIGIN_URL_ASSISTANT", "not an address"],
  ["SUPABASE_URL", undefined],
  ["SUPABASE_URL", "project.example.com"],
  ["SUPABASE_URL", "https://project.example.com/auth/v1"],
  ["GATEWAY_SIGNING_KEY", undefined],
  ["GATEWAY_SIGNING_KEY", "{"],
  ["GATEWAY_SIGNING_KEY", "null"],
  ["GATEWAY_SIGNING_KEY", JSON.stringify({ ...key, d: undefined })],
  ["GATEWAY_SIGNING_KEY", JSON.stringify({ ...key, kid: undefined })],
  ["GATEWAY_SIGNING_KEY", JSON.stringify({ ...key, crv: "P-384" })],
  ["LEGACY_JWT_SECRET", "short"],
  ["SWEEP_SECRET", "s".repeat(31)],
  ["ALLOWED_ORIGINS", "*"],
  ["ALLOWED_ORIGINS", "https://a.example.com/"],
  ["ALLOWED_ORIGINS", "a.example.com"],
  ["ALLOWED_HEADERS", "*"],
  ["ALLOWED_HEADERS", "x-a b"],
  ["ALLOWED_HEADERS", "x-a:"],
  ["MAX_BODY_BYTES", "0"],
  ["MAX_BODY_BYTES", "4MB"],
  ["HEADER_TIMEOUT_SECONDS", "151"],
  ["HEADER_TIMEOUT_SECONDS", "1.5"],
  ["PORT", "65536"],
];
for (const [name, value] of wrong) {
  Deno.test(`${name}=${value?.slice(0, 60)} is refused in one sentence that names it`, () => {
    assert.throws(() => read({ [name]: value }), (error: unknown) => {
      assert.ok(error instanceof SettingError);
      assert.ok(error.message.includes(name));
      assert.ok(!error.message.includes("\n"));
      assert.ok(!error.message.includes(String(key.kid) + '"'));
      return true;
    });
  });
}
