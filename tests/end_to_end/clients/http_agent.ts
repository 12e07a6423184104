// The official AG-UI client against the gateway: what it makes of our streams, as one JSON line per step.
const [url, token, scenario, version] = Deno.args;
const { HttpAgent } = version === "0.0.59"
  ? await import("npm:@ag-ui/client@0.0.59")
  : await import("npm:@ag-ui/client@1.0.0");
const headers = { Authorization: `Bearer ${token}` };
const agent = new HttpAgent({
  url: `${url}/assistant/runs`,
  threadId: crypto.randomUUID(),
  headers,
});

const report = (name: string, value: unknown) => console.log(JSON.stringify({ [name]: value }));
const user = (content: string) => ({
  id: crypto.randomUUID(),
  role: "user" as const,
  content,
});

const run = async (parameters: Record<string, unknown> = {}) => {
  const types: string[] = [];
  const runId = crypto.randomUUID();
  await agent.runAgent({ runId, ...parameters }, {
    onEvent: ({ event }) => {
      types.push(event.type);
    },
  });
  report("types", types);
  report("messages", agent.messages);
  return runId;
};

const scenarios: Record<string, () => Promise<void>> = {
  async chat() {
    agent.addMessage(user("say: Hel|lo"));
    await run();
    agent.addMessage(user("say: again"));
    await run();
  },
  async thinking() {
    agent.addMessage(user("think: hm|yes"));
    await run();
  },
  async "frontend tool"() {
    const tools = [{
      name: "pick",
      description: "Pick a colour",
      parameters: { type: "object" },
    }];
    agent.addMessage(user('call: pick {"of": "sky"}'));
    await run({ tools });
    const [call] = agent.messages.at(-1)?.toolCalls ?? [];
    agent.addMessage({
      id: crypto.randomUUID(),
      role: "tool",
      toolCallId: call.id,
      content: "blue",
    });
    await run({ tools });
  },
  async approval() {
    agent.addMessage(
      user(`call: delete_note {"id": "${crypto.randomUUID()}"}`),
    );
    let interrupts: { id: string; toolCallId?: string }[] = [];
    await agent.runAgent({ runId: crypto.randomUUID() }, {
      onRunFinishedEvent: ({ event }) => {
        if (event.outcome?.type === "interrupt") {
          interrupts = event.outcome.interrupts;
        }
      },
    });
    report("interrupts", interrupts);
    const resume = interrupts.map(({ id }) => ({
      interruptId: id,
      status: "resolved",
      payload: { approved: true },
    }));
    await run({ resume });
  },
  async "broken model"() {
    agent.addMessage(user("break: half a sen"));
    await run();
  },
  async cancel() {
    const runId = crypto.randomUUID();
    agent.addMessage(user(`say: half${"| a".repeat(200)}`));
    const types: string[] = [];
    await agent.runAgent({ runId }, {
      onEvent: ({ event }) => void types.push(event.type),
      onTextMessageContentEvent: async () => {
        await fetch(`${url}/assistant/runs/${runId}/cancel`, { method: "POST", headers });
      },
    }).catch((error) => report("failure", String(error)));
    report("types", types);
    report("messages", agent.messages);
  },
  async "attach again"() {
    agent.addMessage(user("say: once"));
    const runId = await run();
    // The same body: the run is known, so the client gets the thread as it stands.
    agent.setMessages(agent.messages.slice(0, 1));
    await run({ runId });
  },
};
await scenarios[scenario]();
