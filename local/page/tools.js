// @ts-check
/** A tool call as a card: its name, how far it is, its arguments and its result. */
import { el } from "./dom.js";

/** @typedef {import("/client/messages.js").ToolCall} ToolCall */
/** @typedef {import("/client/messages.js").Message} Message */
/** @typedef {{ result: Message | undefined, isOpen: boolean, isAsked: boolean, isBusy: boolean }} Standing */

/**
 * @param {ToolCall} call
 * @param {Standing} standing
 */
export const toolCard = (call, standing) => {
  const { result } = standing;
  return el(
    "details",
    { class: "card tool", open: !result, "data-call": call.id },
    el(
      "summary",
      {},
      el("span", { class: "name" }, call.function.name),
      el("span", { class: "badge" }, progress(standing)),
    ),
    el("h3", {}, "Arguments"),
    code(pretty(call.function.arguments), "Arguments"),
    result && el("h3", {}, "Result"),
    result && code(pretty(asText(result.content)), "Result"),
  );
};

/** @param {Standing} standing */
const progress = ({ result, isOpen, isAsked, isBusy }) => {
  if (result) return "done";
  if (isAsked) return "waits for you";
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
 * JSON in lines; what is not JSON, or not yet, as it is.
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
