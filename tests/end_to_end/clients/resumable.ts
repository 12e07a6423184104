// The clients of clients/js against the gateway, over a connection that breaks again and again: what they make of it.
import { connect } from "../../../clients/js/agent.js";
import { Conversation } from "../../../clients/js/messages.js";
import { approve } from "../../../clients/js/resume.js";
import { ResumableHttpAgent } from "../../../clients/js/resumable.js";

const [url, token, scenario] = Deno.args;
const report = (value: unknown) => console.log(JSON.stringify(value));
const user = (content: string) => ({ id: crypto.randomUUID(), role: "user" as const, content });
const patience = { token: () => token, pause: () => Promise.resolve() };

let requests = 0;
/** Every answer but each fourth breaks off after so many bytes. */
const breaking = (bytes: number): typeof fetch => async (input, init) => {
  const response = await fetch(input, init);
  if (++requests % 4 === 0 || !response.body) return response;
  let left = bytes;
  const cut = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      controller.enqueue(chunk.slice(0, left));
      left -= chunk.length;
      if (left <= 0) controller.error(new TypeError("the connection broke"));
    },
  });
  return new Response(response.body.pipeThrough(cut), response);
};

const scenarios: Record<string, () => Promise<void>> = {
  async "cut anywhere"() {
    const cursors: string[] = [];
    for (const bytes of [1, 90, 200, 333, 450, 600]) {
      const agent = connect({ url, fetch: breaking(bytes), ...patience });
      const conversation = new Conversation();
      for await (
        const received of agent.run({
          threadId: crypto.randomUUID(),
          messages: [user("say: one|two|three")],
        })
      ) {
        cursors.push(received.cursor);
        conversation.apply(received);
      }
      report([conversation.messages.at(-1)?.content, conversation.ending?.type]);
    }
    report(requests);
  },
  async approval() {
    const agent = connect({ url, fetch: breaking(400), ...patience });
    const threadId = crypto.randomUUID();
    const conversation = new Conversation();
    const note = crypto.randomUUID();
    const input = { threadId, messages: [user(`call: delete_note {"id": "${note}"}`)] };
    for await (const received of agent.run(input)) conversation.apply(received);
    report(conversation.interrupts.map(({ reason, message }) => [reason, message]));
    const resume = conversation.interrupts.map((interrupt) => approve(interrupt));
    for await (const received of agent.run({ threadId, resume })) conversation.apply(received);
    report(conversation.messages.at(-1)?.content);
  },
  async cancel() {
    const agent = connect({ url, ...patience });
    const runId = crypto.randomUUID();
    const threadId = crypto.randomUUID();
    const words = Array.from({ length: 60 }, (_, n) => `w${n} `).join("|");
    for await (
      const { event } of agent.run({ threadId, runId, messages: [user(`say: ${words}`)] })
    ) {
      if (event.type === "TEXT_MESSAGE_CONTENT" && event.delta === "w0 ") await agent.cancel(runId);
      if (event.type === "RUN_FINISHED") report(event.outcome);
    }
    report((await agent.read(runId)).status);
  },
  async "official client"() {
    const agent = new ResumableHttpAgent({ gateway: url, fetch: breaking(300), ...patience });
    agent.addMessage(user("say: one|two|three|four"));
    await agent.runAgent();
    report(agent.messages.at(-1)?.content);
    const another = new ResumableHttpAgent({
      gateway: url,
      threadId: agent.threadId,
      fetch: breaking(300),
      ...patience,
    });
    await another.connectAgent();
    report(another.messages.map(({ content }) => content));
  },
};
await scenarios[scenario]();
