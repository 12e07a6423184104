// @ts-check
/** The inputs of a tool's question, as elements. */
import { el } from "./dom.js";

/** @typedef {import("/client/form.js").Input} Input */

/**
 * An element for each input; a group has its inputs inside.
 * @param {Input[]} inputs
 * @returns {HTMLElement[]}
 */
export const fields = (inputs) =>
  inputs.map((input) => {
    const { title, description } = input;
    if (input.kind === "group") {
      return el("fieldset", {}, el("legend", {}, title), ...fields(input.inputs));
    }
    const about = description ? el("small", {}, description) : null;
    return el("label", { class: "field" }, el("span", {}, title), control(input), about);
  });

/** @param {Input} input */
const control = ({ kind, attributes, choices, initial }) => {
  switch (kind) {
    case "choice":
      return el(
        "select",
        attributes,
        ...choices.map(({ text, title }) =>
          el("option", { value: text, selected: isInitial(text, initial) }, title)
        ),
      );
    case "flag":
      return el("input", { ...attributes, checked: initial === true });
    case "lines":
      return el("textarea", attributes, String(initial ?? ""));
    default:
      return el("input", { ...attributes, value: initial === undefined ? "" : String(initial) });
  }
};

/**
 * @param {string} text
 * @param {Input["initial"]} initial
 */
const isInitial = (text, initial) =>
  Array.isArray(initial) ? initial.includes(text) : text === initial;
