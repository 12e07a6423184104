// @ts-check
/**
 * The form of a tool's question, for any framework: its inputs, read from the JSON Schema of the answer, and the answer,
 * read from the form's data. It knows the schemas of MCP's elicitation, and objects in objects: several questions at
 * once are one form with a group for each.
 */

/** @typedef {{ text: string, title: string, value: unknown }} Choice */
/**
 * One input. `kind`: `group` has inputs of its own; `choice` is a list to choose from, `lines` a text area with an entry
 * per line, `flag` a checkbox, `value` any other input. `attributes`: those of the HTML element, under names that React
 * accepts, too. `initial`: what the form starts with.
 * @typedef {{ key: string, title: string, description?: string,
 *   kind: "group" | "choice" | "lines" | "flag" | "value", isNumber: boolean, isRequired: boolean, inputs: Input[], choices: Choice[],
 *   initial?: string | boolean | string[],
 *   attributes: Record<string, string | number | boolean | undefined> & { name: string } }} Input
 */
/** @typedef {Record<string, any>} Schema */

/** Groups in groups are shown to this depth. Several questions need one, and a reference to itself has no end. */
const DEPTH = 3;
/** More inputs than this are no form; references can make a small schema as large as they like. */
const INPUTS = 500;

/**
 * The inputs of a form: one for each property of the interrupt's `responseSchema`. A schema that is none has no inputs.
 * @param {unknown} schema
 * @returns {Input[]}
 */
export const inputsOf = (schema) => {
  const definitions = record(record(schema).$defs);
  return within(resolve(schema, definitions), [], { definitions, budget: { left: INPUTS } });
};

/**
 * @typedef {{ definitions: Schema, budget: { left: number } }} Reading What `$ref` refers to, and how many inputs may follow.
 * @param {Schema} schema
 * @param {string[]} path the keys that lead to this object
 * @param {Reading} reading
 * @returns {Input[]}
 */
const within = (schema, path, reading) => {
  const definitions = schema.$defs ? record(schema.$defs) : reading.definitions;
  const required = list(schema.required);
  return Object.entries(record(schema.properties)).flatMap(([key, property]) => {
    if (reading.budget.left-- <= 0) return [];
    const resolved = resolve(property, definitions);
    return [inputOf([...path, key], required.includes(key), resolved, { ...reading, definitions })];
  });
};

/**
 * The answer, as an object that fits the schema if the browser accepts the form. Inputs left empty are not in it.
 * @param {Input[]} inputs
 * @param {FormData} data
 * @returns {Record<string, unknown>}
 */
export const payloadOf = (inputs, data) =>
  Object.fromEntries(
    inputs.map((input) => [input.key, valueOf(input, data)]).filter(([, value]) =>
      value !== undefined
    ),
  );

/**
 * @param {string[]} path
 * @param {boolean} isRequired
 * @param {Schema} property
 * @param {Reading} reading
 * @returns {Input}
 */
const inputOf = (path, isRequired, property, reading) => {
  const { title, description, default: initial = null } = property;
  const key = path[path.length - 1];
  const kind = kindOf(property, path.length);
  const choices = kind === "choice" ? choicesOf(property, initial === null) : [];
  return {
    key,
    title: textOf(title ?? key),
    description: description && textOf(description),
    kind,
    isNumber: isNumber(property.type === "array" ? record(property.items) : property),
    isRequired,
    inputs: kind === "group" ? within(property, path, reading) : [],
    choices,
    initial: initialOf(kind, initial),
    attributes: {
      name: JSON.stringify(path),
      // A required checkbox would have to be ticked.
      required: (isRequired && kind !== "flag") || undefined,
      ...(kind === "choice" ? { multiple: property.type === "array" || undefined } : {}),
      ...(kind === "flag" ? { type: "checkbox" } : {}),
      ...(kind === "value" ? limitsOf(property) : {}),
    },
  };
};

/**
 * What a reference, or a type that may also be null, stands for.
 * @param {unknown} property
 * @param {Schema} definitions
 * @param {number} [steps] how many references are followed
 * @returns {Schema}
 */
const resolve = (property, definitions, steps = 9) => {
  const { $ref, ...own } = record(property);
  if (steps && typeof $ref === "string") {
    const found = record(definitions[$ref.replace("#/$defs/", "")]);
    return resolve({ ...found, ...own }, definitions, steps - 1);
  }
  const [type = own.type] = list(own.type).filter((one) => one !== "null");
  const others = list(own.anyOf).filter((one) => record(one).type !== "null");
  if (!steps || others.length !== 1) return { ...own, type };
  const { anyOf: _, ...rest } = own;
  return resolve({ ...record(others[0]), ...rest }, definitions, steps - 1);
};

/** @param {Schema} property */
const isNumber = ({ type }) => type === "number" || type === "integer";

/**
 * @param {Schema} property
 * @param {number} depth
 * @returns {Input["kind"]}
 */
const kindOf = (property, depth) => {
  if (optionsOf(property).length) return "choice";
  if (property.properties && depth < DEPTH) return "group";
  if (property.type === "array") return "lines";
  return property.type === "boolean" ? "flag" : "value";
};

/**
 * The values to choose from; none if the user may enter any.
 * @param {Schema} property
 * @returns {unknown[]}
 */
const optionsOf = ({ type, items, enum: values, oneOf, anyOf }) => {
  if (type === "array") return optionsOf({ ...record(items), type: undefined });
  const titled = list(oneOf ?? anyOf);
  return values ? list(values) : titled.every((one) => "const" in record(one)) ? titled : [];
};

/**
 * @param {Schema} property
 * @param {boolean} mayBeEmpty whether nothing is chosen at first
 * @returns {Choice[]}
 */
const choicesOf = (property, mayBeEmpty) => {
  const choices = optionsOf(property).map((option) => {
    const { const: value = option, title } = record(option);
    return { text: textOf(value), title: textOf(title ?? value), value };
  });
  const isOne = property.type !== "array";
  return isOne && mayBeEmpty ? [{ text: "", title: "", value: undefined }, ...choices] : choices;
};

/**
 * @param {Input["kind"]} kind
 * @param {unknown} initial
 * @returns {Input["initial"]}
 */
const initialOf = (kind, initial) => {
  if (initial === null || kind === "flag") return initial === true || undefined;
  if (kind === "lines") return list(initial).map(textOf).join("\n");
  return Array.isArray(initial) ? initial.map(textOf) : textOf(initial);
};

const TYPES = new Map([["email", "email"], ["uri", "url"], ["date", "date"]]);

/** @param {Schema} property */
const limitsOf = (property) => ({
  type: isNumber(property) ? "number" : TYPES.get(property.format) ?? "text",
  step: property.type === "number" ? "any" : undefined,
  min: property.minimum,
  max: property.maximum,
  minLength: property.minLength,
  maxLength: property.maxLength,
});

/**
 * @param {Input} input
 * @param {FormData} data
 * @returns {unknown}
 */
const valueOf = ({ kind, isNumber, isRequired, inputs, choices, attributes }, data) => {
  const texts = data.getAll(attributes.name).map(String);
  const [text = ""] = texts;
  const typed = (/** @type {string} */ entered) => isNumber ? Number(entered) : entered;
  const several = (/** @type {unknown[]} */ values) =>
    values.length || isRequired ? values : undefined;
  switch (kind) {
    case "group":
      return payloadOf(inputs, data);
    case "flag":
      return texts.length > 0;
    case "lines":
      return several(text.split("\n").map((line) => line.trim()).filter(Boolean).map(typed));
    case "choice": {
      const chosen = choices.filter((choice) => texts.includes(choice.text));
      const values = chosen.map(({ value }) => value);
      return attributes.multiple ? several(values) : values[0];
    }
    default:
      return text === "" ? undefined : typed(text);
  }
};

/**
 * @param {unknown} value
 * @returns {string} a text as it is, and anything else as JSON
 */
const textOf = (value) => typeof value === "string" ? value : JSON.stringify(value) ?? "";

/**
 * @param {unknown} value
 * @returns {Schema} the value, or an empty object if it is none
 */
const record = (value) =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};

/**
 * @param {unknown} value
 * @returns {unknown[]} the value, or an empty list if it is none
 */
const list = (value) => Array.isArray(value) ? value : [];
