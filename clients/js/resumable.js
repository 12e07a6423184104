// @ts-check
/** `HttpAgent` of @ag-ui/client, whose runs outlive their connections. Needs that package; `agent.js` does not. */
import { HttpAgent } from "@ag-ui/client";
import { connect } from "./agent.js";

/** @typedef {import("./agent.js").Received} Received */
/** @typedef {import("./agent.js").AgUiEvent} AgUiEvent */
/** @typedef {import("@ag-ui/client").RunAgentInput} RunAgentInput */
/**
 * The options of HttpAgent and of `connect`; `gateway` is the `url` of `connect`.
 * @typedef {Omit<ConstructorParameters<typeof HttpAgent>[0], "url" | "fetch">
 *   & Omit<import("./agent.js").Options, "url"> & { gateway: string }} Config
 */

/** An HttpAgent whose runs continue after a cut, and whose `connectAgent` yields a snapshot and then new events. */
export class ResumableHttpAgent extends HttpAgent {
  /** @param {Config} config */
  constructor({ gateway, ...config }) {
    const backend = connect({ ...config, url: gateway });
    super({
      ...config,
      url: `${backend.url}/${backend.agent}/runs`,
      fetch: (_, { body, signal }) => respond(backend.run(inputOf(body), optional(signal))),
    });
    this.backend = backend;
  }

  /**
   * @override
   * @returns {ResumableHttpAgent}
   */
  clone() {
    const copy = super.clone();
    return Object.assign(/** @type {ResumableHttpAgent} */ (copy), { backend: this.backend });
  }

  /**
   * Cancel a run; `abortRun` only closes the connection.
   * @param {string} runId
   */
  async cancelRun(runId) {
    return await this.backend.cancel(runId);
  }

  /**
   * @override
   * @protected
   * @param {RunAgentInput} input
   */
  connect(input) {
    this.abortController = new AbortController();
    const { signal } = this.abortController;
    const attached = new HttpAgent({
      url: `${this.backend.url}/${this.backend.agent}/connect`,
      fetch: (_, { body }) => {
        const { protocolVersion } = inputOf(body);
        return respond(this.backend.connectThread(input.threadId, { signal, protocolVersion }));
      },
    });
    return attached.run(input);
  }
}

/**
 * The input that HttpAgent sends, with the version that it speaks: none before 1.0.
 * @param {unknown} body
 */
const inputOf = (body) => ({ protocolVersion: undefined, ...JSON.parse(String(body)) });

/** @param {AbortSignal | null | undefined} signal */
const optional = (signal) => signal ? { signal } : {};

/**
 * The events as one uncut response. If the backend refuses the request, this throws its Problem.
 * @param {AsyncGenerator<Received, void>} received
 */
const respond = async (received) => {
  const events = merged(received);
  let next = await events.next();
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    async pull(controller) {
      if (next.done) return controller.close();
      controller.enqueue(encoder.encode(`data: ${JSON.stringify(next.value)}\n\n`));
      next = await events.next();
    },
    async cancel() {
      await received.return();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
};

/**
 * The events of one run with a single RUN_STARTED: before a snapshot that restarts it, open items are closed.
 * @param {AsyncIterable<Received>} received
 * @returns {AsyncGenerator<AgUiEvent, void>}
 */
async function* merged(received) {
  /** @type {Map<string, AgUiEvent>} */
  const closing = new Map();
  let hasStarted = false;
  for await (const { event, restarts } of received) {
    if (restarts && hasStarted) {
      yield* closing.values();
      closing.clear();
      continue;
    }
    hasStarted = true;
    note(closing, event);
    yield event;
  }
}

/**
 * @param {Map<string, AgUiEvent>} closing
 * @param {AgUiEvent} event
 */
const note = (closing, { type, messageId, toolCallId }) => {
  const id = type.startsWith("TOOL_CALL") ? { toolCallId } : { messageId };
  const end = type.replace(/_START$/, "_END");
  const key = `${end} ${toolCallId ?? messageId}`;
  if (type !== end) closing.set(key, { type: end, ...id });
  else closing.delete(key);
};
