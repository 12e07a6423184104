// A thread of several agents: each takes the answers to its own interrupts.
import assert from "node:assert/strict";
import { agentOf, approve, connect } from "../../clients/js/agent.js";
import { recorded, stream } from "./backend.ts";

Deno.test("answers are sent to the agent that raised the interrupts", async () => {
  const paths: string[] = [];
  const agent = connect({
    url: "http://127.0.0.1:9",
    agent: "trips",
    token: () => "token",
    fetch: (url) => {
      paths.push(new URL(String(url)).pathname);
      return Promise.resolve(stream(recorded("text")));
    },
  });
  const interrupt = { id: "i", reason: "tool_call", metadata: { agent: "support" } };
  const input = { threadId: "t", resume: [approve(interrupt)] };
  const ended = async (options = {}) => (await Array.fromAsync(agent.run(input, options))).at(-1);

  assert.equal((await ended({ agent: agentOf([interrupt]) }))?.event.type, "RUN_FINISHED");
  await ended({ agent: agentOf([]) });
  await ended();

  assert.deepEqual(paths, ["/support/runs", "/trips/runs", "/trips/runs"]);
});
