// @ts-check
/** A client of the function `agent` (AG-UI 1.0): runs that outlive their connection. No dependencies. */
import { delay, pause } from "./patience.js";
import { Problem } from "./problem.js";
import { EventParser } from "./sse.js";

export { Problem } from "./problem.js";
export * from "./resume.js";

/** @typedef {import("./resume.js").Answer} Answer */
/** @typedef {{ type: string, [member: string]: any }} AgUiEvent An event as AG-UI has it. */
/**
 * One event. `cursor` is a place to come back to. `restarts`: forget which items are open, a snapshot follows.
 * @typedef {{ cursor: string, event: AgUiEvent, restarts: boolean }} Received
 */
/**
 * RunAgentInput; the id of the run is made up if it is left out.
 * @typedef {{ threadId: string, runId?: string, messages?: object[], resume?: Answer[], tools?: object[],
 *   context?: object[], state?: unknown, forwardedProps?: Record<string, unknown>, parentRunId?: string }} RunInput
 */
/** @typedef {"connected" | "reconnecting"} Connection */
/**
 * How to reach the backend. `url`: the gateway's, such as https://<ref>.supabase.co/functions/v1/auth-gateway.
 * `token`: the user's access token, asked for before each request. `retries`: how often in a row nothing may come
 * before the stream gives up. `silenceSeconds`: a stream that says nothing for so long is taken for cut.
 * @typedef {{ url: string, token: () => string | Promise<string>, fetch?: typeof fetch,
 *   onConnection?: (state: Connection) => void, retries?: number, silenceSeconds?: number,
 *   pause?: (ms: number, signal?: AbortSignal) => Promise<void> }} Options
 */
/** @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Asked */
/** @typedef {{ runId: string, cursor: string }} Place */

const ENDINGS = new Set(["RUN_FINISHED", "RUN_ERROR"]);

/**
 * A client for one user.
 * @param {Options} options
 */
export const connect = (options) => new Agent(options);

/** The door to the backend. Made by `connect`. */
export class Agent {
  /** @param {Options} options */
  constructor(options) {
    this.url = options.url.replace(/\/$/, "");
    this.options = { retries: 10, silenceSeconds: 45, pause, ...options };
    /** @type {typeof fetch} */
    this.fetch = options.fetch ?? ((...given) => globalThis.fetch(...given));
  }

  /**
   * Start a run, or attach to it if it is known, and give its events until it ends, each once, whatever becomes of
   * the connection. Leaving the loop, or the signal, leaves the run alone: `cancel` ends it.
   *
   * Throws a Problem when the backend refuses, and an Error when it cannot be reached.
   * @param {RunInput} input
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  run(input, { signal } = {}) {
    const runId = input.runId ?? crypto.randomUUID();
    const forwardedProps = { ...input.forwardedProps, resumable: true };
    const body = { messages: [], ...input, runId, forwardedProps };
    return this.#stream({ path: "/agent/runs", body, signal }, { runId, cursor: "" });
  }

  /**
   * The events of a run behind a cursor, or all of them, and then as they come.
   * @param {string} runId
   * @param {{ after?: string, signal?: AbortSignal }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  follow(runId, { after = "", signal } = {}) {
    return this.#stream({ path: events(runId), method: "GET", signal }, { runId, cursor: after });
  }

  /**
   * Attach to a thread's latest run, or a given one: a snapshot of the thread as it stands, and then what comes.
   * @param {string} threadId
   * @param {{ runId?: string, signal?: AbortSignal }} [options]
   * @returns {AsyncGenerator<Received, void>}
   */
  connectThread(threadId, { runId, signal } = {}) {
    const body = { threadId, runId };
    return this.#stream({ path: "/agent/connect", body, signal }, {
      runId: runId ?? "",
      cursor: "",
    });
  }

  /**
   * Ask for the end of a run. Gives its status: one that is not `in_progress` or `queued` is final.
   * @param {string} runId
   * @returns {Promise<{ runId: string, status: string }>}
   */
  async cancel(runId) {
    return await this.json(`/agent/runs/${encodeURIComponent(runId)}/cancel`, { method: "POST" });
  }

  /**
   * A run: its status and what it ended with.
   * @param {string} runId
   * @returns {Promise<{ runId: string, threadId: string, status: string, cursor: string, [member: string]: any }>}
   */
  async read(runId) {
    return await this.json(`/agent/runs/${encodeURIComponent(runId)}`);
  }

  /**
   * Ask any function behind the gateway, and read its answer as JSON. Throws a Problem.
   * @param {string} path
   * @param {Asked} [asked]
   * @returns {Promise<any>}
   */
  async json(path, asked) {
    const response = await this.request(path, asked);
    return response.status === 204 ? undefined : await response.json();
  }

  /**
   * Ask any function behind the gateway. Throws a Problem.
   * @param {string} path
   * @param {Asked} [asked]
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
   * @param {Asked & { path: string }} first
   * @param {Place} place where the reader stands; it moves
   * @returns {AsyncGenerator<Received, void>}
   */
  async *#stream(first, place) {
    const { retries, onConnection, pause } = this.options;
    const { signal } = first;
    let failures = 0;
    for (let answers = 0;; answers++) {
      const before = place.cursor;
      const leg = this.#answer(place.cursor ? next(place, signal) : first, place, answers > 0);
      /** @type {unknown} */
      let failure;
      try {
        if (yield* leg) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof Problem && !error.isPassing) throw error;
        failure = error;
      }
      onConnection?.("reconnecting");
      failures = place.cursor === before ? failures + 1 : 0;
      if (failures > retries) throw given(failure);
      await pause(delay(failures, failure), signal);
    }
  }

  /**
   * The events of one answer; true once the run has ended.
   * @param {Asked & { path: string }} asked
   * @param {Place} place
   * @param {boolean} isLater
   * @returns {AsyncGenerator<Received, boolean>}
   */
  async *#answer({ path, ...asked }, place, isLater) {
    const cut = new AbortController();
    const signal = AbortSignal.any([cut.signal, ...(asked.signal ? [asked.signal] : [])]);
    const response = await this.request(path, { ...asked, signal });
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
      const silence = () => cut.abort(new Error("The stream fell silent."));
      const timer = setTimeout(silence, this.options.silenceSeconds * 1000);
      const { done, value } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      yield* parser.push(value);
    }
  }
}

/**
 * What it ends with: the backend's own words where it had some.
 * @param {unknown} failure
 */
const given = (failure) =>
  failure instanceof Problem && failure.code !== "unknown"
    ? failure
    : new Error("The backend cannot be reached.", { cause: failure });

/** @param {string} runId */
const events = (runId) => `/agent/runs/${encodeURIComponent(runId)}/events`;

/**
 * @param {Place} place
 * @param {AbortSignal} [signal]
 */
const next = ({ runId, cursor }, signal) => ({
  path: events(runId),
  headers: { "last-event-id": cursor },
  signal,
});
