// @ts-check
/** Form fields for the JSON Schema of a tool's question. */
import { el } from "./dom.js";

/** @typedef {{ type?: string, title?: string, description?: string, enum?: string[], default?: unknown }} Property */
/** @typedef {HTMLInputElement | HTMLSelectElement} Field */
/** @typedef {{ element: HTMLElement, read: () => unknown }} Part */

/**
 * The fields, and a function that reads their values. An object in an object is a group of fields.
 * @param {unknown} schema
 */
export const fields = (schema) => {
  /** @type {[string, Property][]} */
  const properties = Object.entries(Object(Object(schema).properties));
  const required = new Set(Object(schema).required ?? []);
  const all = properties.map(([name, property]) => ({
    name,
    ...part(property, property.title ?? name, required.has(name)),
  }));
  /** @returns {Record<string, unknown>} */
  const read = () =>
    Object.fromEntries(
      all.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined),
    );
  return { elements: all.map(({ element }) => element), read };
};

/**
 * @param {Property} property
 * @param {string} title
 * @param {boolean} isRequired
 * @returns {Part}
 */
const part = (property, title, isRequired) => {
  if (property.type === "object") {
    const group = fields(property);
    const element = el("fieldset", {}, el("legend", {}, title), ...group.elements);
    return { element, read: group.read };
  }
  const one = field(property, isRequired);
  const about = property.description ? el("small", {}, property.description) : null;
  const element = el("label", { class: "field" }, el("span", {}, title), one, about);
  return { element, read: () => valueOf(property, one) };
};

/**
 * @param {Property} property
 * @param {boolean} isRequired
 * @returns {Field}
 */
const field = (property, isRequired) => {
  if (property.enum) {
    return el(
      "select",
      { required: isRequired },
      ...property.enum.map((one) => el("option", {}, one)),
    );
  }
  if (property.type === "boolean") {
    return el("input", { type: "checkbox", checked: property.default === true });
  }
  const isNumber = ["number", "integer"].includes(property.type ?? "");
  const step = property.type === "number" ? "any" : undefined;
  const value = property.default === undefined ? undefined : String(property.default);
  return el("input", { type: isNumber ? "number" : "text", step, value, required: isRequired });
};

/**
 * @param {Property} property
 * @param {Field} field
 */
const valueOf = ({ type }, field) => {
  if (field instanceof HTMLInputElement && type === "boolean") return field.checked;
  if (field.value === "") return undefined;
  return ["number", "integer"].includes(type ?? "") ? Number(field.value) : field.value;
};
