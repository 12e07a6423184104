// @ts-check
/** A run's timeline from its log: spans and moments. Pure. */

/**
 * @typedef {{ attempt: number, seq: number, count: number, type: string, itemId: string | null, data: any,
 *   createdAt: string }} Row
 */
/**
 * Times are ms since the run's first event.
 * @typedef {{ kind: "wait" | "turn" | "call", label: string, from: number, to: number, note: string }} Span
 */
/** @typedef {{ label: string, at: number, isBad: boolean }} Moment */
/**
 * `firstToken` in ms, if there was one. Times are those of commits: clients may have received text a tick earlier.
 * @typedef {{ spans: Span[], moments: Moment[], length: number, attempts: number, turns: number, calls: number,
 *   firstToken: number | undefined, inputTokens: number, outputTokens: number, ending: string }} Timeline
 */

const BAD = /takes over|taken back|failed/;
const ENDING = /^run\.(completed|interrupted|incomplete|cancelled|failed)$/;

/**
 * @param {Row[]} rows in order
 * @returns {Timeline}
 */
export const timeline = (rows) => {
  const reader = new Reader(Date.parse(rows[0]?.createdAt ?? ""));
  for (const row of rows) reader.read(row);
  return reader.finish();
};

class Reader {
  /** @type {Timeline} */
  #timeline = {
    spans: [],
    moments: [],
    length: 0,
    attempts: 0,
    turns: 0,
    calls: 0,
    firstToken: undefined,
    inputTokens: 0,
    outputTokens: 0,
    ending: "",
  };
  /** Running calls: their names and start times. @type {Map<string, { label: string, from: number }>} */
  #running = new Map();
  /** @type {Map<string, string>} */
  #names = new Map();
  /** The start of the open turn. @type {number | undefined} */
  #turn;
  #at = 0;

  /** @param {number} start */
  constructor(start) {
    this.start = start;
  }

  /** @param {Row} row */
  read(row) {
    this.#at = Date.parse(row.createdAt) - this.start;
    this.#timeline.length = Math.max(this.#timeline.length, this.#at);
    if (row.attempt > this.#timeline.attempts) this.#attempt(row.attempt);
    const { type, data } = row;
    if (type === "run.started") this.#started();
    if (type === "item.started") this.#opened(row);
    if (type === "item.delta" && data.channel === "text") this.#timeline.firstToken ??= this.#at;
    if (type === "item.completed") this.#closed(row);
    if (type === "item.aborted") this.#mark("taken back");
    if (type === "turn.finished") this.#closeTurn(data.usage ?? {});
    if (type === "interrupt.resolved") this.#mark(`answered: ${data.status}`);
    if (ENDING.test(type)) this.#end(type.slice("run.".length), data);
  }

  finish() {
    for (const { label, from } of this.#running.values()) {
      this.#span("call", label, from, "no result");
    }
    if (this.#turn !== undefined) this.#span("turn", "turn", this.#turn, "open");
    return this.#timeline;
  }

  /** @param {number} attempt */
  #attempt(attempt) {
    this.#timeline.attempts = attempt;
    if (attempt === 1) return;
    this.#mark(`attempt ${attempt} takes over`);
    if (this.#turn !== undefined) this.#span("turn", "turn", this.#turn, "lost");
    this.#turn = this.#at;
  }

  #started() {
    if (this.#at > 0) this.#span("wait", "waits", 0, "");
    this.#turn = this.#at;
  }

  /** @param {Row} row */
  #opened({ itemId, data }) {
    if (data.kind === "tool_call") this.#names.set(itemId ?? "", data.name);
    if (data.kind !== "tool_result") return this.#startTurn();
    this.#closeUncounted();
    this.#timeline.calls++;
    this.#running.set(data.call_id, {
      label: this.#names.get(data.call_id) ?? "call",
      from: this.#at,
    });
  }

  /** A turn starts when the previous one has its results. */
  #startTurn() {
    this.#turn ??= this.#at;
  }

  /** @param {Row} row */
  #closed({ data }) {
    if (data.kind !== "tool_result") return;
    const call = this.#running.get(data.item.call_id);
    if (!call) return;
    this.#running.delete(data.item.call_id);
    this.#span("call", call.label, call.from, data.item.error ? "failed" : "");
    if (this.#running.size === 0) this.#turn = this.#at;
  }

  /** @param {{ input_tokens?: number, output_tokens?: number }} usage */
  #closeTurn({ input_tokens = 0, output_tokens = 0 }) {
    this.#timeline.turns++;
    this.#timeline.inputTokens += input_tokens;
    this.#timeline.outputTokens += output_tokens;
    const tokens = input_tokens || output_tokens
      ? `${input_tokens} tokens in, ${output_tokens} out`
      : "";
    this.#span("turn", `turn ${this.#timeline.turns}`, this.#turn ?? this.#at, tokens);
    this.#turn = undefined;
  }

  /** A turn without reported tokens has no event of its own: it ends when its calls start, or with the run. */
  #closeUncounted() {
    if (this.#turn !== undefined) this.#closeTurn({});
  }

  /**
   * @param {string} ending
   * @param {any} data
   */
  #end(ending, data) {
    this.#timeline.ending = ending;
    this.#closeUncounted();
    this.#mark(
      data.code ? `${ending}: ${data.code}` : data.reason ? `${ending}: ${data.reason}` : ending,
    );
  }

  /** @param {string} label */
  #mark(label) {
    const { moments } = this.#timeline;
    const last = moments.at(-1);
    if (last?.label !== label || last.at !== this.#at) {
      moments.push({ label, at: this.#at, isBad: BAD.test(label) });
    }
  }

  /**
   * @param {Span["kind"]} kind
   * @param {string} label
   * @param {number} from
   * @param {string} note
   */
  #span(kind, label, from, note) {
    this.#timeline.spans.push({ kind, label, from, to: this.#at, note });
  }
}
