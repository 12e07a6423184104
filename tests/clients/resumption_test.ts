// A stream that is cut anywhere yields each of its events once.
import assert from "node:assert/strict";
import { connect, type Received } from "../../clients/js/agent.js";
import { Conversation } from "../../clients/js/messages.js";
import { backend, type Cuts, frames, NAMES, recorded, stream } from "./backend.ts";

const URL_ = "http://127.0.0.1:9/functions/v1/auth-gateway";
const impatient = { url: URL_, token: () => "token", pause: () => Promise.resolve() };

const runs = (recording: Uint8Array, cuts: Cuts) => {
  const { fetch, requests } = backend(recording, cuts);
  const runId = frames(recording)[0].event.runId;
  const events = connect({ ...impatient, fetch }).run({ threadId: "t", runId });
  return { events, requests };
};

const collect = async (events: AsyncIterable<Received>) => {
  const all: Received[] = [];
  for await (const received of events) all.push(received);
  return all;
};

const shown = (all: Received[]) => {
  const conversation = new Conversation();
  for (const received of all) conversation.apply(received);
  return conversation;
};

for (const name of NAMES) {
  const recording = recorded(name);
  const expected = frames(recording);
  const whole = expected.map(({ id, event }) => ({ cursor: id, event, restarts: false }));
  const positions = Array.from({ length: recording.length }, (_, at) => at);

  for (const breaks of [false, true]) {
    Deno.test(`${name}: cut at each byte, ${breaks ? "with an error" : "as if it were the end"}`, async () => {
      for (const at of positions) {
        const { events, requests } = runs(recording, { at: [at], breaks });
        const all = await collect(events);
        if (all.some(({ restarts }) => restarts)) assert.deepEqual(shown(all), shown(whole));
        else assert.deepEqual(all, whole, `cut at byte ${at}`);
        assert.ok(requests.length <= 2);
      }
    });
  }

  Deno.test(`${name}: cut twice anywhere, in pieces of three bytes`, async () => {
    for (const first of positions.filter((at) => at % 83 === 0)) {
      for (const second of positions.filter((at) => at % 79 === 0)) {
        const all = await collect(runs(recording, { at: [first, second], step: 3 }).events);
        if (all.some(({ restarts }) => restarts)) assert.deepEqual(shown(all), shown(whole));
        else assert.deepEqual(all, whole, `cut at ${first}, ${second}`);
      }
    }
  });
}

Deno.test("a run that was cut before its first event is posted again, as it was", async () => {
  const { events, requests } = runs(recorded("text"), { at: [0, 10] });
  await collect(events);
  assert.deepEqual(requests.map(({ method }) => method), ["POST", "POST", "POST"]);
  assert.equal(new Set(requests.map(({ body }) => body)).size, 1);
});

Deno.test("after a cut the client requests what follows the last whole event", async () => {
  const recording = recorded("text");
  const { events, requests } = runs(recording, { at: [recording.length - 1] });
  const all = await collect(events);
  assert.deepEqual(requests.map(({ cursor }) => cursor), [null, all.at(-2)?.cursor]);
  assert.equal(
    requests[1].path,
    `/functions/v1/auth-gateway/assistant/runs/${all[0].event.runId}/events`,
  );
});

Deno.test("a leg that ended is resumed at once, without an event for the reader", async () => {
  const [first, second, ...rest] = frames(recorded("text"));
  const leg = { type: "CUSTOM", name: "stream.leg_ended", value: { cursor: second.id } };
  const answers = [
    [first.bytes, second.bytes, new TextEncoder().encode(`data: ${JSON.stringify(leg)}\n\n`)],
    rest.map(({ bytes }) => bytes),
  ];
  const cursors: (string | null)[] = [];
  const waits: number[] = [];
  const fetch = async (_: unknown, init?: RequestInit) => {
    cursors.push(new Headers(init?.headers).get("last-event-id"));
    const body = new Blob((answers.shift() ?? []) as BlobPart[]);
    return await Promise.resolve(stream(new Uint8Array(await body.arrayBuffer())));
  };
  const pause = (ms: number) => Promise.resolve(void waits.push(ms));
  const all = await collect(
    connect({ ...impatient, fetch: fetch as typeof globalThis.fetch, pause }).run({
      threadId: "t",
    }),
  );
  assert.deepEqual(all.map(({ event }) => event), frames(recorded("text")).map((f) => f.event));
  assert.deepEqual([cursors, waits], [[null, second.id], [0]]);
});

Deno.test("a snapshot instead of the rest discards open items", async () => {
  const [started, opened, half] = frames(recorded("text"));
  const answers = [[started, opened, half], frames(recorded("snapshot"))];
  const fetch = () => {
    const parts = (answers.shift() ?? []).flatMap(({ bytes }) => [...bytes]);
    return Promise.resolve(stream(Uint8Array.from(parts)));
  };
  const all = await collect(connect({ ...impatient, fetch }).run({ threadId: "t" }));
  assert.deepEqual(all.flatMap(({ restarts }, at) => restarts ? [at] : []), [3]);
  const { messages, open } = shown(all);
  assert.deepEqual(messages.map(({ content }) => content).at(-1), "onetwothreefourfivesix");
  assert.equal(open.size, 0);
});

Deno.test("a reader that leaves closes the connection", async () => {
  let closed: AbortSignal | null | undefined;
  const { fetch } = backend(recorded("text"), { at: [] });
  const watched: typeof globalThis.fetch = (url, init) => {
    closed = init?.signal;
    return fetch(url, init);
  };
  for await (const _ of connect({ ...impatient, fetch: watched }).run({ threadId: "t" })) break;
  assert.equal(closed?.aborted, true);
});
