// @ts-check
/** The messages of a conversation as elements. Elements that have not changed since the last frame are kept. */
import { el, nodes } from "./dom.js";
import { endingNote } from "./ending.js";
import { markdown } from "./markdown.js";
import { toolCard } from "./tools.js";

/** @typedef {import("/client/messages.js").Conversation} Conversation */
/** @typedef {import("/client/messages.js").Message} Message */

/** The log follows new text while it is scrolled to within this many pixels of its end. */
const NEAR = 80;

export class Transcript {
  /** The element of each message, and what it shows. @type {Map<string, { signature: string, element: HTMLElement }>} */
  #elements = new Map();
  /** @type {(() => void) | undefined} */
  #draw;
  /** @type {HTMLElement | undefined} */
  #problem;
  #isFollowing = true;
  /** Whether there is a problem to scroll to. */
  #isAlarmed = false;
  #working = el("p", { class: "note working" }, "Working");
  /** The content of an empty conversation. @type {HTMLElement[]} */
  #welcome = [];

  /**
   * @param {HTMLElement} log
   * @param {(id: string, content: string) => void} onSend sends a message of the user again, perhaps edited
   */
  constructor(log, onSend) {
    this.log = log;
    this.onSend = onSend;
    log.addEventListener("scroll", () => {
      this.#isFollowing = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    });
  }

  /** @param {string[]} paragraphs */
  welcome(paragraphs) {
    this.#welcome = paragraphs.map((text) => el("p", { class: "welcome" }, text));
  }

  clear() {
    this.#elements.clear();
    this.log.replaceChildren();
    this.#problem = undefined;
    this.follow();
  }

  /** Scroll along with new text, and remove the last problem. */
  follow() {
    this.#isFollowing = true;
    this.#problem?.remove();
    this.#problem = undefined;
  }

  /** @param {string} sentence */
  problem(sentence) {
    this.#problem?.remove();
    this.#problem = el("p", { class: "problem", role: "alert" }, sentence);
    this.log.append(this.#problem);
    this.#isAlarmed = true;
  }

  /**
   * Render with the next frame.
   * @param {Conversation} conversation
   * @param {boolean} isBusy
   * @param {HTMLElement[]} cards the open interrupts
   */
  show(conversation, isBusy, cards) {
    const isScheduled = this.#draw !== undefined;
    this.#draw = () => this.#render(conversation, isBusy, cards);
    if (isScheduled) return;
    // A hidden page gets no frames, but its content may be read.
    const schedule = document.hidden ? setTimeout : requestAnimationFrame;
    schedule(() => {
      this.#draw?.();
      this.#draw = undefined;
    });
  }

  /**
   * @param {Conversation} conversation
   * @param {boolean} isBusy
   * @param {HTMLElement[]} cards
   */
  #render(conversation, isBusy, cards) {
    const elements = conversation.messages.flatMap((message) =>
      this.#element(message, conversation, isBusy)
    );
    const ending = !isBusy && this.#ending(conversation);
    const isWaiting = isBusy && conversation.open.size === 0;
    const wanted = [
      ...(elements.length > 0 || isBusy ? elements : this.#welcome),
      ...(isWaiting ? [this.#working] : []),
      ...cards,
      ...(ending ? [ending] : []),
      ...(this.#problem ? [this.#problem] : []),
    ];
    const isSame = wanted.length === this.log.childNodes.length &&
      wanted.every((element, at) => element === this.log.childNodes[at]);
    if (!isSame) this.#place(wanted);
    this.log.setAttribute("aria-busy", String(isBusy));
    if (this.#isFollowing || this.#isAlarmed) this.log.scrollTop = this.log.scrollHeight;
    this.#isAlarmed = false;
  }

  /**
   * Only new and removed elements move, so that the focus stays.
   * @param {HTMLElement[]} wanted
   */
  #place(wanted) {
    const wantedNodes = new Set(/** @type {ChildNode[]} */ (wanted));
    for (const child of [...this.log.childNodes]) if (!wantedNodes.has(child)) child.remove();
    for (const [at, element] of wanted.entries()) {
      const current = this.log.childNodes[at];
      if (current !== element) this.log.insertBefore(element, current ?? null);
    }
  }

  /**
   * @param {Message} message
   * @param {Conversation} conversation
   * @param {boolean} isBusy
   * @returns {HTMLElement[]}
   */
  #element(message, conversation, isBusy) {
    if (message.role === "tool") return [];
    const results = (message.toolCalls ?? []).map((call) =>
      conversation.messages.findLast(({ role, toolCallId }) =>
        role === "tool" && toolCallId === call.id
      )
    );
    const interrupted = conversation.interrupts.map(({ toolCallId }) => toolCallId);
    const isOpen = conversation.open.has(message.id);
    const signature = JSON.stringify([message, results, interrupted, isOpen, isBusy]);
    const previous = this.#elements.get(message.id);
    if (previous?.signature === signature) return [previous.element];
    const element = this.#make(message, conversation, results, isBusy);
    this.#elements.set(message.id, { signature, element });
    return [element];
  }

  /**
   * @param {Message} message
   * @param {Conversation} conversation
   * @param {(Message | undefined)[]} results
   * @param {boolean} isBusy
   */
  #make(message, conversation, results, isBusy) {
    if (message.role === "user") return this.#user(message, isBusy);
    const text = String(message.content ?? "");
    const body = text && el("div", { class: "text" }, ...nodes(markdown(text)));
    const isOpen = conversation.open.has(message.id);
    if (message.role === "reasoning") {
      return el(
        "details",
        { class: "reasoning", open: isOpen },
        el("summary", {}, "Thinking"),
        body,
      );
    }
    const cards = (message.toolCalls ?? []).map((call, at) => {
      const isInterrupted = conversation.interrupts.some(({ toolCallId }) =>
        toolCallId === call.id
      );
      return toolCard(call, {
        result: results[at],
        isOpen: conversation.open.has(call.id),
        isInterrupted,
        isBusy,
      });
    });
    return el(
      "article",
      { class: `message assistant${isOpen ? " open" : ""}`, "aria-label": "Assistant" },
      body,
      ...cards,
    );
  }

  /**
   * @param {Message} message
   * @param {boolean} isBusy
   */
  #user({ id, content }, isBusy) {
    const text = String(content ?? "");
    const article = el(
      "article",
      { class: "message user", "aria-label": "You", "data-id": id },
      el("div", { class: "text plain" }, text),
    );
    if (isBusy) return article;
    const edit = el("button", {
      class: "quiet",
      onclick: () => article.replaceWith(this.#editor(article, id, text)),
    }, "Edit");
    const again = el(
      "button",
      { class: "quiet", onclick: () => this.onSend(id, text) },
      "Regenerate",
    );
    article.append(el("div", { class: "actions" }, edit, again));
    return article;
  }

  /**
   * @param {HTMLElement} article
   * @param {string} id
   * @param {string} text
   */
  #editor(article, id, text) {
    const field = el("textarea", { rows: 3, "aria-label": "Your message" }, text);
    /** @param {Event} event */
    const save = (event) => {
      event.preventDefault();
      form.replaceWith(article);
      this.onSend(id, field.value.trim() || text);
    };
    const back = () => {
      form.replaceWith(article);
      article.querySelector("button")?.focus();
    };
    const cancel = el("button", { type: "button", class: "quiet", onclick: back }, "Cancel");
    const form = el(
      "form",
      {
        class: "message user editor",
        onsubmit: save,
        /** @param {KeyboardEvent} event */
        onkeydown: (event) => event.key === "Escape" && back(),
      },
      field,
      el("div", { class: "answers" }, el("button", {}, "Send again"), cancel),
    );
    queueMicrotask(() => field.focus());
    return form;
  }

  /** @param {Conversation} conversation */
  #ending({ ending }) {
    if (!ending) return undefined;
    const note = endingNote(ending);
    return note &&
      el("p", { class: ending.type === "RUN_ERROR" ? "problem" : "note", role: "status" }, note);
  }
}
