// @ts-check
/** What a screen reader says of a stream: whole sentences, each once, and how it ended. */

const SENTENCE = /^[\s\S]*?(?:[^\d\s][.!?:]|\n)(?=\s)/;

export class Said {
  #text = "";

  /** @param {HTMLElement} region a polite live region */
  constructor(region) {
    this.region = region;
  }

  /** Another thread, perhaps of another user. */
  clear() {
    this.#text = "";
    this.region.replaceChildren();
  }

  /** @param {import("/client/agent.js").AgUiEvent} event */
  hear(event) {
    if (event.type === "TEXT_MESSAGE_START") this.#text = "";
    if (event.type === "TEXT_MESSAGE_CONTENT") {
      this.#text += event.delta;
      for (
        let found;
        (found = SENTENCE.exec(this.#text));
        this.#text = this.#text.slice(found[0].length)
      ) this.#say(found[0]);
    }
    if (event.type === "TEXT_MESSAGE_END") this.#say(this.#text);
    if (event.type === "TOOL_CALL_START") this.#say(`Calls ${event.toolCallName}.`);
    if (event.outcome?.type === "interrupt") this.#say("Your answer is needed.");
    if (event.type === "RUN_ERROR") this.#say(event.message);
  }

  /** @param {string} text */
  #say(text) {
    if (!text.trim()) return;
    const line = document.createElement("p");
    line.textContent = text.trim();
    this.region.append(line);
    while (this.region.childElementCount > 20) this.region.firstElementChild?.remove();
  }
}
