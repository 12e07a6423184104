// @ts-check
/**
 * One server-sent event: the last `id:` before or in it ("" for none), and its data.
 * @typedef {{ id: string, data: string }} Frame
 */

/** Parses server-sent events (WHATWG HTML §9.2) from chunks of bytes. An incomplete event is dropped. */
export class EventParser {
  #decoder = new TextDecoder();
  #rest = "";
  #endedInCr = false;
  #id = "";
  /** @type {string[]} */
  #data = [];

  /**
   * The events that these bytes complete.
   * @param {Uint8Array} bytes
   * @returns {Generator<Frame, void>}
   */
  *push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return;
    // A line may end in CR LF, split between two chunks.
    if (this.#endedInCr && text.startsWith("\n")) text = text.slice(1);
    this.#endedInCr = text === "" || text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line !== "") this.#field(line);
      else if (this.#data.length > 0) yield this.#take();
    }
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  /** @returns {Frame} */
  #take() {
    const data = this.#data.join("\n");
    this.#data = [];
    return { id: this.#id, data };
  }
}
