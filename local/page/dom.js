// @ts-check
/** Creates elements one by one: the page never parses text as HTML. */

/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | ((event: any) => unknown) | undefined>} Attributes */

/**
 * An element with its attributes, its listeners (`onclick` and so on) and its children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export const el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(
    ...children.filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
};

/**
 * The element with this id, which must be of this kind.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export const byId = (id, kind) => {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`The page has no ${id}.`);
};

/**
 * The nodes of a tree that `markdown` returns.
 * @param {import("./markdown.js").Tree[]} trees
 * @returns {Child[]}
 */
export const nodes = (trees) =>
  trees.map((tree) =>
    typeof tree === "string" ? tree : el(tree.tag, tree.attributes, ...nodes(tree.children))
  );

/** @param {string} iso */
export const clock = (iso) => new Date(iso).toLocaleTimeString([], { timeStyle: "medium" });

/** Problems' codes, as sentences for people. @type {Record<string, string>} */
const PLAIN = {
  interrupt_open: "Answer the question above first.",
  thread_busy: "This thread is still being answered. Wait, or stop it.",
  budget_exceeded: "Your tokens of today are spent; there are new ones tomorrow.",
};

/**
 * An error as a sentence for people.
 * @param {unknown} error
 */
export const errorText = (error) => {
  const { code, message } = Object(error);
  return code ? `${PLAIN[code] ?? message} (${code})` : String(message ?? error);
};
