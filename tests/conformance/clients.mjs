// Calls the server with an official JavaScript client, and prints the results.
// Usage: `node clients.mjs <folder of node_modules> <which> <url> <token>`.
import { createRequire } from "node:module";

const [folder, which, url, token] = process.argv.slice(2);
const load = createRequire(`${folder}/package.json`);

const sdk = () => ({
  ...load("@modelcontextprotocol/sdk/client/index.js"),
  ...load("@modelcontextprotocol/sdk/client/streamableHttp.js"),
  elicitation: load("@modelcontextprotocol/sdk/types.js").ElicitRequestSchema,
});
const split = () => ({ ...load("@modelcontextprotocol/client"), elicitation: "elicitation/create" });

const { Client, StreamableHTTPClientTransport, elicitation } = which === "sdk" ? sdk() : split();
const options = { capabilities: { elicitation: {} } };
if (which === "client-modern") options.versionNegotiation = { mode: "auto" };

const client = new Client({ name: "test", version: "1" }, options);
client.setRequestHandler(elicitation, () => ({ action: "accept", content: { name: "Ada" } }));
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  }),
);

const progress = [];
const { tools } = await client.listTools();
const computed = await client.callTool({ name: "calculator", arguments: { expression: "6 * 7" } });
const refused = await client.callTool({ name: "calculator", arguments: { expression: "1 / 0" } });
const answered = await client.callTool({ name: "test_streaming_elicitation", arguments: {} });
const long = { name: "test_tool_with_progress", arguments: {} };
const onProgress = (step) => progress.push(step.progress);
await (which === "sdk"
  ? client.callTool(long, undefined, { onprogress: onProgress })
  : client.callTool(long, { onprogress: onProgress }));
await client.close();

console.log(JSON.stringify({
  names: tools.map((tool) => tool.name),
  value: computed.structuredContent.value,
  refused: [refused.isError, refused.content[0].text],
  answered: answered.content[0].text,
  progress,
}));
