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
 *   kind: "group" | "choice" | "lines" | "flag" | "value", isNumber: boolean, inputs: Input[], choices: Choice[],
 *   initial?: string | boolean | string[],
 *   attributes: Record<string, string | number | boolean | undefined> & { name: string } }} Input
 */
/** @typedef {Record<string, any>} Schema */

/**
 * The inputs of a form: one for each property of the interrupt's `responseSchema`.
 * @param {unknown} schema
 * @param {string[]} [path] the keys that lead to this object
 * @param {Schema} [definitions] what `$ref` refers to
 * @returns {Input[]}
 */
export const inputsOf = (schema, path = [], definitions = {}) => {
  const { properties = {}, required = [], $defs = definitions } =
    /** @type {Schema} */ (Object(schema));
  return Object.entries(properties).map(([key, property]) =>
    inputOf([...path, key], required.includes(key), resolve(property, $defs), $defs)
  );
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
 * @param {Schema} definitions
 * @returns {Input}
 */
const inputOf = (path, isRequired, property, definitions) => {
  const { description, default: initial } = property;
  const key = path[path.length - 1];
  const kind = kindOf(property);
  const choices = kind === "choice" ? choicesOf(property, initial === undefined) : [];
  return {
    key,
    title: property.title ?? key,
    description,
    kind,
    isNumber: isNumber(property),
    inputs: kind === "group" ? inputsOf(property, path, definitions) : [],
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
 * @param {Schema} property
 * @param {Schema} definitions
 * @returns {Schema}
 */
const resolve = (property, definitions) => {
  const { $ref, anyOf, ...own } = Object(property);
  if ($ref) return resolve({ ...definitions[$ref.replace("#/$defs/", "")], ...own }, definitions);
  const [only, ...more] = anyOf?.filter((/** @type {Schema} */ { type }) => type !== "null") ?? [];
  return only && !more.length ? resolve({ ...only, ...own }, definitions) : Object(property);
};

/** @param {Schema} property */
const isNumber = ({ type }) => type === "number" || type === "integer";

/**
 * @param {Schema} property
 * @returns {Input["kind"]}
 */
const kindOf = (property) => {
  if (optionsOf(property)) return "choice";
  if (property.type === "object") return "group";
  if (property.type === "array") return "lines";
  return property.type === "boolean" ? "flag" : "value";
};

/**
 * @param {Schema} property
 * @returns {unknown[] | undefined}
 */
const optionsOf = ({ type, items, enum: values, oneOf, anyOf }) =>
  type === "array" ? optionsOf(Object(items)) : values ?? oneOf ?? anyOf;

/**
 * @param {Schema} property
 * @param {boolean} mayBeEmpty whether nothing is chosen at first
 * @returns {Choice[]}
 */
const choicesOf = (property, mayBeEmpty) => {
  const choices = (optionsOf(property) ?? []).map((option) => {
    const { const: value = option, title } = Object(option);
    return { text: String(value), title: title ?? String(value), value };
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
  if (initial === undefined || kind === "flag") return initial === true || undefined;
  if (kind === "lines") return Array.isArray(initial) ? initial.join("\n") : undefined;
  return Array.isArray(initial) ? initial.map(String) : String(initial);
};

/** @type {Record<string, string>} */
const TYPES = { email: "email", uri: "url", date: "date" };

/** @param {Schema} property */
const limitsOf = (property) => ({
  type: isNumber(property) ? "number" : TYPES[property.format] ?? "text",
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
const valueOf = ({ kind, isNumber, inputs, choices, attributes: { name, multiple } }, data) => {
  const texts = data.getAll(name).map(String);
  const [text = ""] = texts;
  switch (kind) {
    case "group":
      return payloadOf(inputs, data);
    case "flag":
      return texts.length > 0;
    case "lines":
      return text.split("\n").map((line) => line.trim()).filter(Boolean);
    case "choice": {
      const chosen = choices.filter((choice) => texts.includes(choice.text)).map(({ value }) =>
        value
      );
      return multiple ? chosen : chosen[0];
    }
    default:
      return text === "" ? undefined : isNumber ? Number(text) : text;
  }
};
