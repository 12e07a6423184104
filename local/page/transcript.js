// @ts-check
/** The messages of a conversation as elements. What has not changed since the last frame is left alone. */
import { el, nodes } from "./dom.js";
import { endingNote } from "./ending.js";
import { markdown } from "./markdown.js";
import { toolCard } from "./tools.js";

/** @typedef {import("/client/messages.js").Conversation} Conversation */
/** @typedef {import("/client/messages.js").Message} Message */

/** How near to its end the log must be to stay there, in pixels. */
const NEAR = 80;

export class Transcript {
  /** What each element shows. @type {Map<string, { signature: string, element: HTMLElement }>} */
  #shown = new Map();
  /** @type {(() => void) | undefined} */
  #draw;
  /** @type {HTMLElement | undefined} */
  #problem;
  #isFollowing = true;
  /** Whether there is a problem that was not seen yet. */
  #isAlarmed = false;
  #working = el("p", { class: "note working" }, "Working");
  /** What stands where nothing was said yet. @type {HTMLElement[]} */
  #welcome = [];

  /**
   * @param {HTMLElement} log
   * @param {(id: string, content: string) => void} onAsk a message of the user is said again, perhaps otherwise
   */
  constructor(log, onAsk) {
    this.log = log;
    this.onAsk = onAsk;
    log.addEventListener("scroll", () => {
      this.#isFollowing = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    });
  }

  /** @param {string[]} paragraphs */
  welcome(paragraphs) {
    this.#welcome = paragraphs.map((text) => el("p", { class: "welcome" }, text));
  }

  clear() {
    this.#shown.clear();
    this.log.replaceChildren();
    this.#problem = undefined;
    this.follow();
  }

  /** Stay with what is written last. */
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
   * Show it with the next frame of the screen.
   * @param {Conversation} conversation
   * @param {boolean} isBusy
   * @param {HTMLElement[]} cards what is asked of the user
   */
  show(conversation, isBusy, cards) {
    const isScheduled = this.#draw !== undefined;
    this.#draw = () => this.#render(conversation, isBusy, cards);
    if (isScheduled) return;
    // A hidden page draws no frames, but may be read.
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
   * Only what is new or gone moves, so that the focus stays where it is.
   * @param {HTMLElement[]} wanted
   */
  #place(wanted) {
    const kept = new Set(/** @type {ChildNode[]} */ (wanted));
    for (const child of [...this.log.childNodes]) if (!kept.has(child)) child.remove();
    for (const [at, element] of wanted.entries()) {
      const there = this.log.childNodes[at];
      if (there !== element) this.log.insertBefore(element, there ?? null);
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
    const asked = conversation.interrupts.map(({ toolCallId }) => toolCallId);
    const isOpen = conversation.open.has(message.id);
    const signature = JSON.stringify([message, results, asked, isOpen, isBusy]);
    const known = this.#shown.get(message.id);
    if (known?.signature === signature) return [known.element];
    const element = this.#make(message, conversation, results, isBusy);
    this.#shown.set(message.id, { signature, element });
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
      const isAsked = conversation.interrupts.some(({ toolCallId }) => toolCallId === call.id);
      return toolCard(call, {
        result: results[at],
        isOpen: conversation.open.has(call.id),
        isAsked,
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
      { class: "quiet", onclick: () => this.onAsk(id, text) },
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
      this.onAsk(id, field.value.trim() || text);
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
