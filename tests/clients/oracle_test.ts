// The official client is the oracle: the same events, the same messages; and ResumableHttpAgent is one of its own.
import assert from "node:assert/strict";
import { HttpAgent } from "@ag-ui/client";
import { connect } from "../../clients/js/agent.js";
import { Conversation, type Message } from "../../clients/js/messages.js";
import { ResumableHttpAgent } from "../../clients/js/resumable.js";
import { backend, type Cuts, frames, NAMES, recorded, stream } from "./backend.ts";

const gateway = "http://127.0.0.1:9/functions/v1/auth-gateway";
const patience = { token: () => "token", pause: () => Promise.resolve() };
const question = { id: "m1", role: "user" as const, content: "hello" };

const official = async (agent: HttpAgent, runId: string) => {
  const events: unknown[] = [];
  agent.addMessage(question);
  await agent.runAgent({ runId }, {
    onEvent: ({ event }) => void events.push(structuredClone(event)),
  });
  return { events, messages: agent.messages as Message[] };
};

const runIdOf = (recording: Uint8Array) => frames(recording)[0].event.runId;

const plain = async (recording: Uint8Array) => {
  const fetch = () => Promise.resolve(stream(recording));
  return await official(new HttpAgent({ url: gateway, fetch }), runIdOf(recording));
};

const resumable = (recording: Uint8Array, cuts: Cuts) => {
  const { fetch, requests } = backend(recording, cuts);
  return { agent: new ResumableHttpAgent({ gateway, fetch, ...patience }), requests };
};

for (const name of NAMES) {
  const recording = recorded(name);

  Deno.test(`${name}: the same events and messages as the official client's`, async () => {
    const { fetch } = backend(recording, { at: [] });
    const ours = new Conversation([question]);
    const events: unknown[] = [];
    for await (
      const received of connect({ url: gateway, fetch, ...patience }).run({ threadId: "t" })
    ) {
      events.push(received.event);
      ours.apply(received);
    }
    const theirs = await plain(recording);
    assert.deepEqual(events, theirs.events);
    assert.deepEqual(ours.messages, theirs.messages);
    assert.deepEqual(ours.open.size, 0);
  });

  Deno.test(`${name}: a cut at any byte changes nothing for the official client`, async () => {
    const whole = await plain(recording);
    for (let at = 0; at < recording.length; at += 7) {
      const found = await official(resumable(recording, { at: [at] }).agent, runIdOf(recording));
      assert.deepEqual(found.messages, whole.messages, `cut at byte ${at}`);
      if (name !== "snapshot") assert.deepEqual(found.events, whole.events, `cut at byte ${at}`);
    }
  });
}

Deno.test("a snapshot instead of the rest closes open items for the official client", async () => {
  const [started, opened, half] = frames(recorded("text"));
  const answers = [[started, opened, half], frames(recorded("snapshot"))];
  const fetch = () =>
    Promise.resolve(stream(Uint8Array.from((answers.shift() ?? []).flatMap((f) => [...f.bytes]))));
  const agent = new ResumableHttpAgent({ gateway, fetch, ...patience });
  const { events, messages } = await official(agent, started.event.runId);
  const types = events.map((event) => Object(event).type);
  assert.deepEqual(types.slice(2, 5), [
    "TEXT_MESSAGE_CONTENT",
    "TEXT_MESSAGE_END",
    "MESSAGES_SNAPSHOT",
  ]);
  assert.equal(messages.at(-1)?.content, "onetwothreefourfivesix");
});

Deno.test("connectAgent shows the thread, and resumes after a cut", async () => {
  const recording = recorded("snapshot");
  const { agent, requests } = resumable(recording, { at: [recording.length - 200] });
  await agent.connectAgent();
  assert.equal(agent.messages.at(-1)?.content, "onetwothreefourfivesix");
  assert.deepEqual(requests.map(({ path }) => path.split("/").at(-1)), ["connect", "events"]);
});

Deno.test("a refusal fails the run, with its code", async () => {
  const refused = Response.json({ code: "thread_busy", detail: "It is busy." }, { status: 409 });
  const agent = new ResumableHttpAgent({
    gateway,
    fetch: () => Promise.resolve(refused),
    ...patience,
  });
  const failed = await agent.runAgent({}, {
    onRunFailed: ({ error }) => assert.equal(Object(error).code, "thread_busy"),
  })
    .catch((error) => error);
  assert.equal(failed.code, "thread_busy");
});

Deno.test("a clone is resumable, too", async () => {
  const { agent } = resumable(recorded("text"), { at: [300] });
  const { messages } = await official(agent.clone(), runIdOf(recorded("text")));
  assert.equal(messages.at(-1)?.content, "Grüße, 🎈 world");
  assert.equal(agent.clone().backend, agent.backend);
});
