// The client that CopilotKit and assistant-ui pin: what it makes of each stream in a file, as one JSON line.
import { HttpAgent } from "@ag-ui/client-0.0.59";

const streams: Record<string, string> = JSON.parse(Deno.readTextFileSync(Deno.args[0]));
const headers = { "content-type": "text/event-stream" };

for (const [name, stream] of Object.entries(streams)) {
  const fetch = () => Promise.resolve(new Response(stream, { headers }));
  const agent = new HttpAgent({ url: "http://127.0.0.1:9/runs", fetch });
  const types: string[] = [];
  let failure = "";
  await agent.runAgent({}, {
    onEvent: ({ event }) => void types.push(event.type),
    onRunFailed: ({ error }) => void (failure = String(error)),
  }).catch((error) => (failure = String(error)));
  console.log(JSON.stringify({ name, types, failure, messages: agent.messages }));
}
