// @ts-check
/** Form fields for the flat JSON Schema of a tool's question. */
import { el } from "./dom.js";

/** @typedef {{ type?: string, title?: string, description?: string, enum?: string[], default?: unknown }} Property */
/** @typedef {HTMLInputElement | HTMLSelectElement} Field */

/**
 * The fields, and a function that reads their values.
 * @param {unknown} schema
 */
export const fields = (schema) => {
  /** @type {[string, Property][]} */
  const properties = Object.entries(Object(Object(schema).properties));
  const required = new Set(Object(schema).required ?? []);
  const all = properties.map(([name, property]) => ({
    name,
    property,
    field: field(property, required.has(name)),
  }));
  const read = () =>
    Object.fromEntries(all.flatMap(({ name, property, field }) => {
      const value = valueOf(property, field);
      return value === undefined ? [] : [[name, value]];
    }));
  const elements = all.map(({ name, property, field }) =>
    el(
      "label",
      { class: "field" },
      el("span", {}, property.title ?? name),
      field,
      property.description ? el("small", {}, property.description) : null,
    )
  );
  return { elements, read };
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
