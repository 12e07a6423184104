// @ts-check
/** The view of a thread's runs, and of the log of one of them: as a timeline and raw. */
import { byId, clock, el, errorText } from "./dom.js";
import { timeline } from "./timeline.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("./timeline.js").Row} Row */
/** @typedef {import("./timeline.js").Timeline} Timeline */
/** @typedef {{ runId: string, status: string, attempt: number, createdAt: string }} Run */

const EVERY_MS = 1000;
const PAGE = 1000;

export class RunsView {
  #section = byId("runs", HTMLElement);
  #list = el("ul", { id: "run-list", "aria-label": "Runs of this thread" });
  #timeline = el("div", { id: "course" });
  #events = el("tbody");
  #raw = el("details", { id: "raw" }, el("summary", {}, "Events"));
  #problem = el("p", { class: "note", role: "status" });
  #listed = "";
  #threadId = "";
  #runId = "";
  /** @type {Row[]} */
  #rows = [];
  #watching = new AbortController();

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    const heads = ["Cursor", "At", "Type", "Data"].map((head) => el("th", { scope: "col" }, head));
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads)), this.#events);
    this.#raw.append(
      el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Events" }, table),
    );
    this.#section.append(
      el("h2", {}, "Runs"),
      this.#problem,
      this.#list,
      this.#timeline,
      this.#raw,
    );
  }

  /** @param {Session} session */
  setSession(session) {
    this.session = session;
    this.watch("", "");
  }

  /**
   * Show the runs of a thread, and follow one of them. Without a thread, show nothing.
   * @param {string} threadId
   * @param {string} runId
   */
  watch(threadId, runId) {
    this.#watching.abort();
    this.#watching = new AbortController();
    [this.#threadId, this.#runId, this.#rows] = [threadId, runId, []];
    this.#listed = "";
    for (const part of [this.#list, this.#timeline, this.#events]) part.replaceChildren();
    this.#raw.hidden = true;
    this.#problem.textContent = threadId ? "" : "Choose a thread to see its runs.";
    if (threadId) this.#follow(this.#watching.signal);
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    while (!signal.aborted) {
      try {
        await this.#look(signal);
      } catch (error) {
        if (!signal.aborted) this.#problem.textContent = errorText(error);
        return;
      }
      await new Promise((done) => setTimeout(done, EVERY_MS));
    }
  }

  /** @param {AbortSignal} signal */
  async #look(signal) {
    const thread = `/threads/threads/${encodeURIComponent(this.#threadId)}`;
    const { data: runs } = await this.session.backend.json(`${thread}/runs?limit=50`, { signal });
    this.#runId ||= runs[0]?.runId ?? "";
    this.#showList(runs);
    this.#problem.textContent = this.#runId ? "" : "This thread has no runs yet.";
    if (!this.#runId) return;
    const fresh = await this.#fresh(
      `${thread}/runs/${encodeURIComponent(this.#runId)}/log`,
      signal,
    );
    if (fresh.length > 0) this.#show(fresh);
  }

  /** @param {Run[]} runs */
  #showList(runs) {
    // Only if something has changed, so that the focus stays.
    const listed = JSON.stringify([this.#runId, runs]);
    if (listed === this.#listed) return;
    this.#listed = listed;
    this.#list.replaceChildren(...runs.map((run) => this.#entry(run)));
  }

  /**
   * @param {string} path
   * @param {AbortSignal} signal
   */
  async #fresh(path, signal) {
    /** @type {Row[]} */
    const rows = [];
    let after = this.#last();
    for (;;) {
      const { data, next } = await this.session.backend.json(
        `${path}?after=${after}&limit=${PAGE}`,
        { signal },
      );
      rows.push(...data);
      if (next === null || data.length === 0) return rows;
      after = next;
    }
  }

  /** The `seq` of the last event: a row may contain several. */
  #last() {
    const last = this.#rows.at(-1);
    return last ? last.seq + last.count - 1 : 0;
  }

  /** @param {Row[]} fresh */
  #show(fresh) {
    this.#rows.push(...fresh);
    this.#raw.hidden = false;
    this.#events.append(...fresh.map(eventRow));
    this.#timeline.replaceChildren(...drawn(timeline(this.#rows)));
  }

  /** @param {Run} run */
  #entry(run) {
    const href = `#/runs/${encodeURIComponent(this.#threadId)}/${encodeURIComponent(run.runId)}`;
    const current = run.runId === this.#runId ? "true" : undefined;
    const attempts = run.attempt > 1 ? ` · ${run.attempt} attempts` : "";
    return el(
      "li",
      {},
      el(
        "a",
        { href, "aria-current": current },
        clock(run.createdAt),
        " ",
        el("span", { class: "badge" }, run.status),
        attempts,
      ),
    );
  }
}

/** @param {Row} row */
const eventRow = ({ attempt, seq, count, type, createdAt, data }) =>
  el(
    "tr",
    {},
    el("td", {}, `${attempt}.${seq}${count > 1 ? `–${seq + count - 1}` : ""}`),
    el("td", {}, clock(createdAt)),
    el("td", {}, type),
    el("td", {}, el("code", {}, JSON.stringify(data))),
  );

/** @param {Timeline} timeline */
const drawn = (timeline) => {
  const facts = [
    ["Status", timeline.ending || "in progress"],
    ["Time", seconds(timeline.length)],
    ["First token", timeline.firstToken === undefined ? "none" : seconds(timeline.firstToken)],
    ["Turns", timeline.turns],
    ["Calls", timeline.calls],
    ["Attempts", timeline.attempts],
    ["Tokens", `${timeline.inputTokens} in, ${timeline.outputTokens} out`],
  ].map(([name, value]) => el("div", {}, el("dt", {}, String(name)), el("dd", {}, String(value))));
  const whole = Math.max(timeline.length, 1);
  const spans = timeline.spans.map((span) => {
    const bar = place(
      el("span", { class: `bar ${span.kind} ${span.note}` }),
      span.from / whole,
      (span.to - span.from) / whole,
    );
    const description = `${span.label}, ${seconds(span.to - span.from)}${
      span.note ? `, ${span.note}` : ""
    }`;
    return el(
      "li",
      { class: "span" },
      el("span", { class: "what" }, description),
      el("span", { class: "lane" }, bar),
    );
  });
  const moments = timeline.moments.map(({ label, at, isBad }) =>
    el(
      "li",
      { class: "span moment" },
      el("span", { class: "what" }, `${label}, at ${seconds(at)}`),
      el(
        "span",
        { class: "lane" },
        place(el("span", { class: isBad ? "dot bad" : "dot" }), at / whole, 0),
      ),
    )
  );
  return [
    el("dl", { class: "facts" }, ...facts),
    el("ol", { class: "timeline", "aria-label": "Timeline" }, ...spans, ...moments),
  ];
};

/**
 * @param {HTMLElement} bar
 * @param {number} from
 * @param {number} width
 */
const place = (bar, from, width) => {
  bar.style.setProperty("--from", String(from));
  bar.style.setProperty("--width", String(width));
  return bar;
};

/** @param {number} ms */
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
