// @ts-check
/** The view of the local functions: their processes and health, and buttons to kill them. */
import { byId, el, errorText } from "./dom.js";
import { local } from "./session.js";

/** @typedef {{ name: string, pid: number, starts: number, seconds: number, isAlive: boolean, isReady: boolean, liveRuns: number | null }} Process */

const EVERY_MS = 1500;

export class FunctionsView {
  #section = byId("functions", HTMLElement);
  #rows = el("tbody");
  #runs = el("p", { class: "note", role: "status" });
  #problem = el("p", { class: "problem", role: "alert" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isWatched = false;
  /** @type {Map<string, HTMLTableRowElement>} */
  #rowOf = new Map();

  constructor() {
    const heads = ["Function", "Process", "Starts", "Health", "Live runs", "Try"].map((head) =>
      el("th", { scope: "col" }, head)
    );
    this.#section.append(
      el("h2", {}, "Functions"),
      el(
        "p",
        {},
        "Kill the agent in the middle of an answer: another process takes over the run within seconds, " +
          "and repeats the turn that the dead one had not finished.",
      ),
      this.#runs,
      el(
        "div",
        { class: "wide", tabindex: "0", role: "group", "aria-label": "Processes" },
        el("table", {}, el("thead", {}, el("tr", {}, ...heads)), this.#rows),
      ),
      this.#problem,
    );
  }

  /** @param {boolean} isWatched */
  watch(isWatched) {
    this.#isWatched = isWatched;
    clearTimeout(this.#timer);
    if (isWatched) this.#look();
  }

  async #look() {
    try {
      const { functions, runs } = await local("/functions");
      for (const process of functions) this.#show(process);
      this.#runs.textContent = `Runs in progress: ${runs.in_progress ?? 0}. Waiting: ${
        runs.queued ?? 0
      }.`;
      this.#problem.textContent = "";
    } catch (error) {
      this.#problem.textContent = errorText(error);
    }
    clearTimeout(this.#timer);
    if (this.#isWatched) this.#timer = setTimeout(() => this.#look(), EVERY_MS);
  }

  /** @param {Process} process */
  #show(process) {
    const health = process.isReady ? "ready" : process.isAlive ? "not ready" : "does not respond";
    // The number comes from log lines of level INFO.
    const live = String(process.liveRuns ?? "not logged");
    const texts = [process.name, String(process.pid), String(process.starts), health, live];
    const row = this.#rowOf.get(process.name) ?? this.#row(process.name);
    for (const [at, text] of texts.entries()) {
      // Unchanged cells are not written, so that a screen reader does not repeat them.
      if (row.cells[at].textContent !== text) row.cells[at].textContent = text;
    }
    row.dataset.health = health;
  }

  /** @param {string} name */
  #row(name) {
    const which = el("span", { class: "which" }, ` ${name}`);
    const kill = el("button", { class: "danger", onclick: () => this.#kill(name) }, "Kill", which);
    const row = el(
      "tr",
      { "data-function": name },
      el("th", { scope: "row" }),
      el("td"),
      el("td"),
      el("td"),
      el("td", { class: "live" }),
      el("td", {}, kill),
    );
    this.#rowOf.set(name, row);
    this.#rows.append(row);
    return row;
  }

  /** @param {string} name */
  async #kill(name) {
    try {
      await local(`/functions/${name}/kill`, "POST");
    } catch (error) {
      this.#problem.textContent = errorText(error);
    }
    this.#look();
  }
}
