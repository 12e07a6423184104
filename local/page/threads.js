// @ts-check
/** The list of the user's threads, newest activity first, or the results of a search. */
import { byId, el, errorText } from "./dom.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {{ threadId: string, title: string | null, updatedAt: string, status: string }} Thread */
/** @typedef {{ thread: Thread, snippet: { text: string, match: boolean }[] }} Hit */

const SEARCH_AFTER_MS = 200;

export class ThreadList {
  #list = byId("thread-list", HTMLUListElement);
  #search = byId("search", HTMLInputElement);
  #more = byId("more", HTMLButtonElement);
  #problem = byId("threads-problem", HTMLElement);
  #selected = "";
  /** @type {string | null} */
  #next = null;
  #requests = 0;

  /** @param {Session} session */
  constructor(session) {
    this.session = session;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    this.#search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.refresh(), SEARCH_AFTER_MS);
    });
    this.#more.addEventListener("click", () => this.#load(this.#next ?? ""));
  }

  /** @param {Session} session */
  setSession(session) {
    this.session = session;
    this.#search.value = "";
    this.#list.replaceChildren();
    this.refresh();
  }

  /** @param {string} threadId */
  select(threadId) {
    this.#selected = threadId;
    for (const link of this.#list.querySelectorAll("a")) this.#mark(link);
  }

  refresh() {
    return this.#load("");
  }

  /** @param {string} after */
  async #load(after) {
    const request = ++this.#requests;
    const query = this.#search.value.trim();
    try {
      const page = await this.#page(query, after);
      // The response to an earlier request, or for another user.
      if (request !== this.#requests) return;
      const entries = page.data.map((/** @type {Thread | Hit} */ result) => this.#entry(result));
      if (after) this.#list.append(...entries);
      else this.#list.replaceChildren(...entries);
      this.#next = page.next;
      this.#more.hidden = !page.next;
      this.#problem.textContent = query && !page.data.length && !after ? "Nothing found." : "";
    } catch (error) {
      if (request === this.#requests) this.#problem.textContent = errorText(error);
    }
  }

  /**
   * @param {string} query
   * @param {string} after
   */
  async #page(query, after) {
    const parameters = new URLSearchParams({
      limit: "30",
      ...(after ? { after } : {}),
      ...(query ? { q: query } : {}),
    });
    return await this.session.backend.json(
      `/threads/${query ? "search" : "threads"}?${parameters}`,
    );
  }

  /** @param {Thread | Hit} result */
  #entry(result) {
    const thread = "thread" in result ? result.thread : result;
    const snippet = "snippet" in result ? result.snippet : [];
    const link = el(
      "a",
      { href: `#/chat/${encodeURIComponent(thread.threadId)}`, "data-thread": thread.threadId },
      el("span", { class: "title" }, thread.title || thread.threadId),
      thread.status !== "idle" && el("span", { class: `badge ${thread.status}` }, thread.status),
      snippet.length > 0 && el("span", { class: "snippet" }, ...snippet.map(piece)),
    );
    this.#mark(link);
    return el("li", {}, link);
  }

  /** @param {HTMLAnchorElement} link */
  #mark(link) {
    if (link.dataset.thread === this.#selected) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

/** @param {Hit["snippet"][number]} part */
const piece = ({ text, match }) => match ? el("mark", {}, text) : text;
