// @ts-check
/** Cards for open interrupts: approvals of calls, and questions of tools. */
import { answer, approve, dismiss, isExpired, mayChange, refuse } from "/client/agent.js";
import { inputsOf, payloadOf } from "/client/form.js";
import { el } from "./dom.js";
import { fields } from "./fields.js";
import { pretty } from "./tools.js";

/** @typedef {import("/client/agent.js").Answer} Answer */
/** @typedef {import("/client/resume.js").Interrupt} Interrupt */
/** @typedef {import("/client/messages.js").Conversation} Conversation */

export class Questions {
  /** @type {Map<string, HTMLElement>} */
  #cards = new Map();
  /** @type {Map<string, Answer>} */
  #answers = new Map();
  /** The ids of the shown interrupts. */
  #ids = "";

  /** @param {(resume: Answer[]) => void} onAnswered called with the answers to all open interrupts */
  constructor(onAnswered) {
    this.onAnswered = onAnswered;
  }

  /**
   * A card for each open interrupt; the same element as long as it is open.
   * @param {Conversation} conversation
   */
  cards(conversation) {
    const { interrupts } = conversation;
    const ids = interrupts.map(({ id }) => id).join(" ");
    if (ids !== this.#ids) {
      this.#cards = new Map(interrupts.map((one) => [one.id, this.#card(one, conversation)]));
      this.#answers.clear();
      this.#ids = ids;
    }
    return [...this.#cards.values()];
  }

  /** Show the cards anew, because the backend did not accept the answers. */
  reset() {
    this.#ids = "";
  }

  /** @param {Answer} answer */
  #take(answer) {
    this.#answers.set(answer.interruptId, answer);
    const card = this.#cards.get(answer.interruptId);
    for (const control of card?.querySelectorAll("button, textarea, input, select") ?? []) {
      control.setAttribute("disabled", "");
    }
    if (this.#answers.size === this.#cards.size) this.onAnswered([...this.#answers.values()]);
  }

  /**
   * @param {Interrupt} interrupt
   * @param {Conversation} conversation
   */
  #card(interrupt, conversation) {
    const isCall = interrupt.reason === "tool_call";
    const expires = interrupt.expiresAt &&
      `${isExpired(interrupt) ? "Expired" : "Until"} ${
        new Date(interrupt.expiresAt).toLocaleString()
      }`;
    return el(
      "section",
      {
        class: "card question",
        "aria-label": isCall ? "Approval" : "Question",
        "data-interrupt": interrupt.id,
      },
      el("p", {}, el("strong", {}, interrupt.message ?? "May this continue?")),
      this.#body(interrupt, conversation),
      expires ? el("p", { class: "note" }, expires) : null,
    );
  }

  /**
   * @param {Interrupt} interrupt
   * @param {Conversation} conversation
   */
  #body(interrupt, conversation) {
    if (isExpired(interrupt)) {
      return el("div", { class: "answers" }, this.#dismissal(interrupt, "Dismiss"));
    }
    const isCall = interrupt.reason === "tool_call";
    return isCall ? this.#approval(interrupt, conversation) : this.#input(interrupt);
  }

  /**
   * @param {Interrupt} interrupt
   * @param {Conversation} conversation
   */
  #approval(interrupt, conversation) {
    const call = conversation.call(interrupt.toolCallId ?? "");
    const original = pretty(call?.function.arguments ?? "{}");
    const field = mayChange(interrupt)
      ? el("textarea", { rows: 5, "aria-label": "Arguments" }, original)
      : undefined;
    const wrong = el("p", { class: "problem", role: "alert" });
    const yes = () => {
      try {
        const changed = field && field.value !== original ? JSON.parse(field.value) : undefined;
        this.#take(approve(interrupt, changed));
      } catch {
        wrong.textContent = "The arguments are not JSON.";
      }
    };
    const reason = el("input", {
      placeholder: "Why not?",
      "aria-label": "Why not",
    });
    const no = () => this.#take(refuse(interrupt, reason.value.trim()));
    return el(
      "div",
      {},
      // Arguments that cannot be changed are in the card of the call.
      field,
      wrong,
      el(
        "div",
        { class: "answers" },
        el("button", { onclick: yes }, "Approve"),
        el("button", { class: "danger", onclick: no }, "Refuse"),
        reason,
      ),
    );
  }

  /** @param {Interrupt} interrupt */
  #input(interrupt) {
    const inputs = inputsOf(interrupt.responseSchema);
    /** @param {SubmitEvent & { currentTarget: HTMLFormElement }} event */
    const submit = (event) => {
      event.preventDefault();
      this.#take(answer(interrupt, payloadOf(inputs, new FormData(event.currentTarget))));
    };
    const buttons = el(
      "div",
      { class: "answers" },
      el("button", {}, "Answer"),
      this.#dismissal(interrupt, "Do not answer"),
    );
    return el("form", { onsubmit: submit }, ...fields(inputs), buttons);
  }

  /**
   * @param {Interrupt} interrupt
   * @param {string} words
   */
  #dismissal(interrupt, words) {
    const onclick = () => this.#take(dismiss(interrupt));
    return el("button", { type: "button", class: "danger", onclick }, words);
  }
}
