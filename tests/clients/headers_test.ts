// The official clients are the oracle: a page may send each header that they add by themselves.
import assert from "node:assert/strict";
import { createClient, FunctionRegion } from "@supabase/supabase-js";
import OpenAI from "openai";
import { cors } from "../../supabase/functions/auth-gateway/cors.ts";

const APP = "https://app.example.com";
/** What a browser sends without permission. */
const SAFE = ["accept", "accept-language", "content-language", "content-length"];

const allowed = (): string[] => {
  const headers = { origin: APP, "access-control-request-method": "POST" };
  const preflight = new Request("https://gateway.example.com", { method: "OPTIONS", headers });
  const response = cors([APP], {}).preflight(preflight);
  return (response?.headers.get("access-control-allow-headers") ?? "").split(", ");
};

/** A fetch that records the names of headers, and whose responses make clients repeat their requests. */
const recorder = () => {
  const names = new Set<string>();
  const fetch = (input: URL | RequestInfo, init?: RequestInit): Promise<Response> => {
    for (const [name] of new Request(input, init).headers) names.add(name);
    return Promise.resolve(Response.json({ error: "x" }, { status: 500 }));
  };
  return { names, fetch: fetch as typeof globalThis.fetch };
};

const forbidden = (names: Set<string>): string[] => {
  const known = [...SAFE, ...allowed()];
  return [...names].filter((name) => !known.includes(name));
};

Deno.test("a page may send all that OpenAI's client sends", async () => {
  const { names, fetch } = recorder();
  const client = new OpenAI({
    apiKey: "key",
    organization: "org",
    project: "project",
    baseURL: "https://gateway.example.com",
    maxRetries: 1,
    dangerouslyAllowBrowser: true,
    fetch,
  });
  await client.chat.completions.create({ model: "m", messages: [], stream: true }).catch(() => {});
  await client.responses.stream({ model: "m", input: "hi" }).finalResponse().catch(() => {});
  assert.ok(names.has("x-stainless-retry-count"), [...names].join());
  assert.deepEqual(forbidden(names), []);
});

Deno.test("a page may send all that supabase-js sends", async () => {
  const { names, fetch } = recorder();
  const client = createClient("https://project.example.com", "key", { global: { fetch } });
  await client.functions.invoke("auth-gateway/assistant/runs", {
    body: {},
    region: FunctionRegion.UsEast1,
  });
  assert.ok(names.has("x-region"), [...names].join());
  assert.deepEqual(forbidden(names), []);
});
