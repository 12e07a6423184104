// @ts-check
/** A tool call as a card: its name, state, arguments and result. */
import { el } from "./dom.js";

/** @typedef {import("/client/messages.js").ToolCall} ToolCall */
/** @typedef {import("/client/messages.js").Message} Message */
/** @typedef {{ result: Message | undefined, isOpen: boolean, isInterrupted: boolean, isBusy: boolean }} CallState */

/**
 * @param {ToolCall} call
 * @param {CallState} state
 */
export const toolCard = (call, state) => {
  const { result } = state;
  return el(
    "details",
    { class: "card tool", open: !result, "data-call": call.id },
    el(
      "summary",
      {},
      el("span", { class: "name" }, call.function.name),
      el("span", { class: "badge" }, label(state)),
    ),
    el("h3", {}, "Arguments"),
    code(pretty(call.function.arguments), "Arguments"),
    result && el("h3", {}, "Result"),
    result && code(pretty(asText(result.content)), "Result"),
  );
};

/** @param {CallState} state */
const label = ({ result, isOpen, isInterrupted, isBusy }) => {
  if (result) return "done";
  if (isInterrupted) return "waits for you";
  if (isOpen) return "being written";
  return isBusy ? "running" : "not run";
};

/**
 * @param {string} text
 * @param {string} label
 */
export const code = (text, label) =>
  el("pre", { tabindex: "0", role: "group", "aria-label": label }, el("code", {}, text));

/**
 * JSON, indented; other text, such as incomplete JSON, unchanged.
 * @param {string} text
 */
export const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

/** @param {unknown} content */
const asText = (content) => typeof content === "string" ? content : JSON.stringify(content);
