// The client when the backend refuses, cannot be reached, or falls silent.
import assert from "node:assert/strict";
import { connect, type Options, Problem } from "../../clients/js/agent.js";
import { backend, recorded } from "./backend.ts";

type Answer = () => Response | Promise<Response>;

const problem = (status: number, code: string, headers = {}) => () =>
  new Response(JSON.stringify({ status, code, detail: `It is ${code}.`, request_id: "r-1" }), {
    status,
    headers: { "content-type": "application/problem+json", ...headers },
  });

const agentWith = (answers: Answer[], more: Partial<Options> = {}) => {
  const { fetch: whole } = backend(recorded("text"), { at: [] });
  const seen = { waits: [] as number[], states: [] as string[], tokens: [] as (string | null)[] };
  const fetch: typeof globalThis.fetch = async (url, init) => {
    seen.tokens.push(new Headers(init?.headers).get("authorization"));
    const answer = answers.shift();
    return answer ? await answer() : await whole(url, init);
  };
  const agent = connect({
    url: "http://127.0.0.1:9",
    token: () => `token-${seen.tokens.length}`,
    fetch,
    pause: (ms) => Promise.resolve(void seen.waits.push(ms)),
    onConnection: (state) => void seen.states.push(state),
    ...more,
  });
  return { agent, seen };
};

const finish = async (answers: Answer[], more: Partial<Options> = {}) => {
  const { agent, seen } = agentWith(answers, more);
  const types: string[] = [];
  for await (const { event } of agent.run({ threadId: "t" })) types.push(event.type);
  return { ...seen, types };
};

Deno.test("a refusal is an error at once, with its code", async () => {
  const { agent, seen } = agentWith([problem(409, "thread_busy")]);
  const error = await agent.run({ threadId: "t" }).next().catch((error) => error);
  assert.ok(error instanceof Problem);
  assert.deepEqual(
    [error.status, error.code, error.message, error.requestId],
    [409, "thread_busy", "It is thread_busy.", "r-1"],
  );
  assert.deepEqual(seen.waits, []);
});

Deno.test("a spent budget is an error at once, without a wait", async () => {
  const spent = problem(429, "budget_exceeded", { "retry-after": "61" });
  const { agent, seen } = agentWith([spent]);
  const error = await agent.run({ threadId: "t" }).next().catch((error) => error);
  assert.deepEqual([error.code, seen.waits, seen.states], ["budget_exceeded", [], []]);
});

Deno.test("the error for a backend that stays full is the backend's own", async () => {
  const full = problem(503, "too_many_runs", { "retry-after": "2" });
  const { agent, seen } = agentWith(Array(9).fill(full), { retries: 2 });
  const error = await agent.run({ threadId: "t" }).next().catch((error) => error);
  assert.deepEqual([error.code, seen.waits.length], ["too_many_runs", 2]);
});

Deno.test("an answer that is no problem of ours has the code unknown", async () => {
  const { agent } = agentWith([() => new Response("<html>", { status: 403 })]);
  const error = await agent.read("r").catch((error) => error);
  assert.deepEqual([error.status, error.code], [403, "unknown"]);
});

Deno.test("a request to a full process is repeated after its Retry-After, with a fresh token", async () => {
  const { waits, types, tokens, states } = await finish([
    problem(503, "too_many_runs", { "retry-after": "7" }),
  ]);
  assert.deepEqual(waits, [7000]);
  assert.equal(types.at(-1), "RUN_FINISHED");
  assert.deepEqual(tokens, ["Bearer token-0", "Bearer token-1"]);
  assert.deepEqual(states, ["reconnecting", "connected"]);
});

Deno.test("requests to an unreachable backend are repeated with growing waits, up to ten seconds", async () => {
  const away = () => Promise.reject(new TypeError("refused"));
  const { waits, types } = await finish(Array(9).fill(away));
  assert.equal(types.at(-1), "RUN_FINISHED");
  for (const [nth, wait] of waits.entries()) {
    const most = Math.min(10_000, 250 * 2 ** nth);
    assert.ok(wait >= most / 2 && wait <= most, `${nth}: ${wait}`);
  }
});

Deno.test("it gives up after its retries, with the cause", async () => {
  const cause = new TypeError("refused");
  const { agent, seen } = agentWith(Array(9).fill(() => Promise.reject(cause)), { retries: 2 });
  const error = await agent.run({ threadId: "t" }).next().catch((error) => error);
  assert.deepEqual([error.message, error.cause], ["The backend cannot be reached.", cause]);
  assert.equal(seen.waits.length, 2);
});

Deno.test("a silent stream counts as cut", async () => {
  const headers = { "content-type": "text/event-stream" };
  let cancelled = 0;
  const fetch: typeof globalThis.fetch = (_, init) => {
    const body = new ReadableStream({
      start(controller) {
        init?.signal?.addEventListener("abort", () => {
          cancelled += 1;
          controller.error(init.signal?.reason);
        });
      },
    });
    return Promise.resolve(new Response(body, { headers }));
  };
  const { agent } = agentWith([], { fetch, silenceSeconds: 0.01, retries: 1 });
  const error = await agent.run({ threadId: "t" }).next().catch((error) => error);
  assert.deepEqual([error.cause.message, cancelled], ["The stream sent no data in time.", 2]);
});

Deno.test("the signal ends a wait and a stream", async () => {
  const stop = new AbortController();
  const away = () => {
    queueMicrotask(() => stop.abort(new Error("enough")));
    return Promise.reject(new TypeError("refused"));
  };
  const { agent } = agentWith([away], { pause: undefined });
  const run = agent.run({ threadId: "t" }, { signal: stop.signal });
  await assert.rejects(run.next(), /enough/);
});

Deno.test("a run in the background is followed from its start", async () => {
  const accepted = () => Response.json({ runId: "r", status: "queued" }, { status: 202 });
  const { types } = await finish([accepted]);
  assert.deepEqual([types[0], types.at(-1)], ["RUN_STARTED", "RUN_FINISHED"]);
});
