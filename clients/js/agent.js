// @ts-check
/** A client of an agent (AG-UI 1.0). Runs outlive their connections. No dependencies. */
import { delay, pause } from "./backoff.js";
import { errorOf, Problem } from "./problem.js";
import { EventParser } from "./sse.js";

export { Problem } from "./problem.js";
export * from "./resume.js";

/** @typedef {import("./resume.js").Answer} Answer */
/** @typedef {{ type: string, [member: string]: any }} AgUiEvent An event of AG-UI. */
/**
 * One event. `cursor`: the place to continue from. `restarts`: a snapshot follows, so no item is open any more.
 * @typedef {{ cursor: string, event: AgUiEvent, restarts: boolean }} Received
 */
/**
 * RunAgentInput. Without a `runId`, the client generates one.
 * @typedef {{ threadId: string, runId?: string, messages?: object[], resume?: Answer[], tools?: object[],
 *   context?: object[], state?: unknown, forwardedProps?: Record<string, unknown>, parentRunId?: string,
 *   protocolVersion?: string }} RunInput
 */
/** @typedef {"connected" | "reconnecting"} Connection */
/**
 * `url`: the gateway's, such as https://<ref>.supabase.co/functions/v1/auth-gateway. `agent`: the name of the agent; by
 * default `assistant`. `token`: returns the user's access
 * token; called before each request. `retries`: after this many connections in a row without an event, the stream
 * fails. `silenceSeconds`: a stream without data for this long counts as cut.
 * @typedef {{ url: string, agent?: string, token: () => string | Promise<string>, fetch?: typeof fetch,
 *   onConnection?: (state: Connection) => void, retries?: number, silenceSeconds?: number,
 *   pause?: (ms: number, signal?: AbortSignal) => Promise<void> }} Options
 */
/** @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Init */
/** @typedef {{ runId: string, cursor: string, protocolVersion: string | undefined }} Place */

/** What this client reads. A backend sends clients that do not name it what clients before 1.0 can read. */
const PROTOCOL_VERSION = "1.0";
const ENDINGS = new Set(["RUN_FINISHED", "RUN_ERROR"]);

/**
 * A client for one user.
 * @param {Options} options
 */
export const connect = (options) => new Agent(options);

/** A client for one user; `connect` creates it. */
export class Agent {
  /** @param {Options} options */
  constructor(options) {
    this.url = options.url.replace(/\/$/, "");
    this.agent = options.agent ?? "assistant";
    this.options = { retries: 10, silenceSeconds: 45, pause, ...options };
    /** @type {typeof fetch} */
    this.fetch = options.fetch ?? ((...given) => globalThis.fetch(...given));
  }

  /**
   * Start a run, or attach to it if it exists, and yield its events until it ends, each once, across reconnections.
   * Leaving the loop or aborting the signal does not end the run: `cancel` does.
   *
   * `agent`: the one that executes it, if it is not the client's own; `agentOf(interrupts)` for a run with answers.
   *
   * Throws a Problem if the backend refuses, and an Error if it cannot be reached.
   * @param {RunInput} input
   * @param {{ signal?: AbortSignal, agent?: string }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  run(input, { signal, agent = this.agent } = {}) {
    const runId = input.runId ?? crypto.randomUUID();
    const forwardedProps = { ...input.forwardedProps, resumable: true };
    const body = {
      messages: [],
      protocolVersion: PROTOCOL_VERSION,
      ...input,
      runId,
      forwardedProps,
    };
    const { protocolVersion } = body;
    const place = { runId, cursor: "", protocolVersion };
    return this.#stream({ path: `/${agent}/runs`, body, signal }, place);
  }

  /**
   * The events of a run after a cursor, or all of them, and then new ones as they arrive.
   * @param {string} runId
   * @param {{ after?: string, signal?: AbortSignal }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  follow(runId, { after = "", signal } = {}) {
    const place = { runId, cursor: after, protocolVersion: PROTOCOL_VERSION };
    return this.#stream({ path: this.#events(place), method: "GET", signal }, place);
  }

  /**
   * Attach to a thread's latest run, or a given one: a snapshot of the thread, and then new events.
   * @param {string} threadId
   * @param {{ runId?: string, signal?: AbortSignal, protocolVersion?: string | undefined }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  connectThread(threadId, options = {}) {
    const { runId, signal, protocolVersion } = { protocolVersion: PROTOCOL_VERSION, ...options };
    const body = { threadId, runId, protocolVersion };
    return this.#stream({ path: `/${this.agent}/connect`, body, signal }, {
      runId: runId ?? "",
      cursor: "",
      protocolVersion,
    });
  }

  /**
   * Cancel a run. Resolves to its status: any other than `in_progress` and `queued` is final.
   * @param {string} runId
   * @returns {Promise<{ runId: string, status: string }>}
   */
  async cancel(runId) {
    return await this.json(`${this.#path(runId)}/cancel`, { method: "POST" });
  }

  /**
   * Read a run: its status, and its ending once it has one.
   * @param {string} runId
   * @returns {Promise<{ runId: string, threadId: string, status: string, cursor: string, [member: string]: any }>}
   */
  async read(runId) {
    return await this.json(this.#path(runId));
  }

  /** @param {string} runId */
  #path(runId) {
    return `/${this.agent}/runs/${encodeURIComponent(runId)}`;
  }

  /**
   * Send a request to any function behind the gateway, and read the response as JSON. Throws a Problem.
   * @param {string} path
   * @param {Init} [init]
   * @returns {Promise<any>}
   */
  async json(path, init) {
    const response = await this.request(path, init);
    return response.status === 204 ? undefined : await response.json();
  }

  /**
   * Send a request to any function behind the gateway. Throws a Problem.
   * @param {string} path
   * @param {Init} [init]
   */
  async request(path, { method, body, headers, signal } = {}) {
    const response = await this.fetch(this.url + path, {
      method: method ?? (body === undefined ? "GET" : "POST"),
      headers: {
        authorization: `Bearer ${await this.options.token()}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
    if (!response.ok) throw await Problem.of(response);
    return response;
  }

  /**
   * @param {Init & { path: string }} first
   * @param {Place} place the reader's place; this updates it
   * @returns {AsyncGenerator<Received, void>}
   */
  async *#stream(first, place) {
    const { retries, onConnection, pause } = this.options;
    const { signal } = first;
    let failures = 0;
    for (let legs = 0;; legs++) {
      const before = place.cursor;
      const leg = this.#leg(place.cursor ? this.#rest(place, signal) : first, place, legs > 0);
      /** @type {unknown} */
      let failure;
      try {
        if (yield* leg) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Problem && !error.isTransient) throw error;
        failure = error;
      }
      onConnection?.("reconnecting");
      failures = place.cursor === before ? failures + 1 : 0;
      if (failures > retries) throw errorOf(failure);
      await pause(delay(failures, failure), signal);
    }
  }

  /**
   * The request for the events after a place.
   * @param {Place} place
   * @param {AbortSignal} [signal]
   */
  #rest(place, signal) {
    return { path: this.#events(place), headers: { "last-event-id": place.cursor }, signal };
  }

  /** @param {Place} place */
  #events({ runId, protocolVersion }) {
    const query = protocolVersion ? `?protocolVersion=${encodeURIComponent(protocolVersion)}` : "";
    return `${this.#path(runId)}/events${query}`;
  }

  /**
   * The events of one response; true once the run has ended.
   * @param {Init & { path: string }} init
   * @param {Place} place
   * @param {boolean} isLater
   * @returns {AsyncGenerator<Received, boolean>}
   */
  async *#leg({ path, ...init }, place, isLater) {
    const cut = new AbortController();
    const signal = AbortSignal.any([cut.signal, ...(init.signal ? [init.signal] : [])]);
    const response = await this.request(path, { ...init, signal });
    this.options.onConnection?.("connected");
    let isHead = isLater;
    try {
      for await (const { id, data } of this.#frames(response, cut)) {
        const event = JSON.parse(data);
        if (event.type === "CUSTOM" && event.name === "stream.leg_ended") return false;
        place.cursor = id;
        if (event.type === "RUN_STARTED") place.runId = event.runId;
        yield { cursor: id, event, restarts: isHead && event.type === "RUN_STARTED" };
        isHead = false;
        if (ENDINGS.has(event.type)) return true;
      }
      return false;
    } finally {
      cut.abort();
    }
  }

  /**
   * @param {Response} response
   * @param {AbortController} cut
   */
  async *#frames(response, cut) {
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return;
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    const parser = new EventParser();
    for (;;) {
      const silence = () => cut.abort(new Error("The stream sent no data in time."));
      const timer = setTimeout(silence, this.options.silenceSeconds * 1000);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      yield* parser.push(value);
    }
  }
}
