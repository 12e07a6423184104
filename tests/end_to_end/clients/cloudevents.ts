// The official CloudEvents SDK delivers runs: one in each mode. Prints the answers' statuses, one a line.
import { CloudEvent, HTTP } from "npm:cloudevents@10.0.0";

const [url, binary, structured] = Deno.args;

const event = (runId: string) =>
  new CloudEvent({
    type: "agent.run.waiting",
    source: "/caf%C3%A9/functions",
    subject: runId,
    time: new Date().toISOString(),
    partitionkey: "thread",
    datacontenttype: "application/json",
    data: { run_id: runId },
  });

for (const message of [HTTP.binary(event(binary)), HTTP.structured(event(structured))]) {
  const headers = message.headers as Record<string, string>;
  const body = typeof message.body === "string" ? message.body : JSON.stringify(message.body);
  const response = await fetch(url, { method: "POST", headers, body });
  await response.body?.cancel();
  console.log(response.status);
}
