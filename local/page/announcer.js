// @ts-check
/** Announces a stream to screen readers: whole sentences, each once, and the ending. */

const SENTENCE = /^[\s\S]*?(?:[^\d\s][.!?:]|\n)(?=\s)/;

export class Announcer {
  #text = "";

  /** @param {HTMLElement} region a polite live region */
  constructor(region) {
    this.region = region;
  }

  /** Remove all announcements, for another thread or user. */
  clear() {
    this.#text = "";
    this.region.replaceChildren();
  }

  /** @param {import("/client/agent.js").AgUiEvent} event */
  read(event) {
    if (event.type === "TEXT_MESSAGE_START") this.#text = "";
    if (event.type === "TEXT_MESSAGE_CONTENT") {
      this.#text += event.delta;
      for (
        let match;
        (match = SENTENCE.exec(this.#text));
        this.#text = this.#text.slice(match[0].length)
      ) this.#announce(match[0]);
    }
    if (event.type === "TEXT_MESSAGE_END") this.#announce(this.#text);
    if (event.type === "TOOL_CALL_START") this.#announce(`Calls ${event.toolCallName}.`);
    if (event.outcome?.type === "interrupt") this.#announce("Your answer is needed.");
    if (event.type === "RUN_ERROR") this.#announce(event.message);
  }

  /** @param {string} text */
  #announce(text) {
    if (!text.trim()) return;
    const line = document.createElement("p");
    line.textContent = text.trim();
    this.region.append(line);
    while (this.region.childElementCount > 20) this.region.firstElementChild?.remove();
  }
}
