// A server of the TypeScript SDK from before November 2025, with sessions as its examples have them.
// Usage: `node server.mjs <folder of node_modules> <port>`.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [folder, port] = process.argv.slice(2);
const load = createRequire(`${folder}/package.json`);
const { McpServer } = load("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = load("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { isInitializeRequest } = load("@modelcontextprotocol/sdk/types.js");
const { z } = load("zod");

const sessions = new Map();
const text = (value) => ({ content: [{ type: "text", text: value }] });

const begin = async () => {
  const server = new McpServer({ name: "older", version: "1" });
  const double = { description: "Twice the number.", inputSchema: { n: z.number() } };
  server.registerTool("double", double, ({ n }) => text(String(2 * n)));
  server.registerTool("wait", { description: "Do nothing." }, () => text("waited"));
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
  });
  await server.connect(transport);
  return transport;
};

const refuse = (response) => {
  const error = { code: -32000, message: "Bad Request: No valid session ID provided" };
  response.writeHead(400, { "content-type": "application/json" });
  response.end(JSON.stringify({ jsonrpc: "2.0", error, id: null }));
};

createServer(async (request, response) => {
  let raw = "";
  for await (const part of request) raw += part;
  const body = raw ? JSON.parse(raw) : undefined;
  const id = request.headers["mcp-session-id"];
  const transport = sessions.get(id) ?? (!id && isInitializeRequest(body) ? await begin() : undefined);
  await (transport ? transport.handleRequest(request, response, body) : refuse(response));
}).listen(Number(port), "127.0.0.1");
