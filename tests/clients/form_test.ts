// The forms of tools' questions, without a document.
import assert from "node:assert/strict";
import { type Input, inputsOf, payloadOf } from "../../clients/js/form.js";
import { isExpired } from "../../clients/js/resume.js";

const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: "object",
  properties,
  ...more,
});

/** What the form sends if these texts are entered, by the paths of the inputs. */
const sent = (inputs: Input[], texts: Record<string, string | string[]>) => {
  const data = new FormData();
  for (const [path, given] of Object.entries(texts)) {
    for (const text of [given].flat()) data.append(JSON.stringify(path.split("/")), text);
  }
  return payloadOf(inputs, data);
};

Deno.test("each type of a property has an input, and its value that type", () => {
  const inputs = inputsOf(object(
    {
      row: { type: "integer", minimum: 1, title: "Row" },
      price: { type: "number" },
      name: { type: "string", format: "email", maxLength: 40, description: "Whose" },
      sure: { type: "boolean", default: true },
      tags: { type: "array", items: { type: "string" }, default: ["a", "b"] },
    },
    { required: ["row", "sure"] },
  ));
  const [row, price, name, sure, tags] = inputs;
  assert.deepEqual([row.title, row.attributes.type, row.attributes.min], ["Row", "number", 1]);
  assert.equal(row.attributes.required, true);
  assert.equal(price.attributes.step, "any");
  assert.deepEqual([name.attributes.type, name.attributes.maxLength], ["email", 40]);
  assert.equal(name.description, "Whose");
  // A required checkbox could not be left empty.
  assert.deepEqual([sure.kind, sure.initial, sure.attributes.required], ["flag", true, undefined]);
  assert.deepEqual([tags.kind, tags.initial], ["lines", "a\nb"]);

  assert.deepEqual(
    sent(inputs, { row: "12", price: "0.5", name: "a@b.c", sure: "on", tags: "x\n\n y " }),
    { row: 12, price: 0.5, name: "a@b.c", sure: true, tags: ["x", "y"] },
  );
  assert.deepEqual(sent(inputs, { row: "", price: "", name: "" }), { sure: false });
});

Deno.test("a choice has the value that the schema names, whatever its type", () => {
  const inputs = inputsOf(object({
    plain: { enum: [1, 2] },
    titled: { oneOf: [{ const: "b", title: "Bed" }, { const: "c", title: "Couch" }], default: "c" },
    several: { type: "array", items: { enum: ["x", "y", "z"] } },
    maybe: { anyOf: [{ type: "integer" }, { type: "null" }] },
  }));
  const [plain, titled, several, maybe] = inputs;
  assert.deepEqual(plain.choices.map(({ text }) => text), ["", "1", "2"]);
  assert.deepEqual(titled.choices.map(({ title }) => title), ["Bed", "Couch"]);
  assert.equal(titled.initial, "c");
  assert.equal(several.attributes.multiple, true);
  assert.equal(maybe.attributes.type, "number");

  assert.deepEqual(
    sent(inputs, { plain: "2", titled: "b", several: ["x", "z"], maybe: "3" }),
    { plain: 2, titled: "b", several: ["x", "z"], maybe: 3 },
  );
  assert.deepEqual(sent(inputs, { plain: "" }), {});
});

Deno.test("several questions are groups, and a reference is followed", () => {
  const inputs = inputsOf(object({
    seat: object({ row: { $ref: "#/$defs/Row" } }, { $defs: { Row: { type: "integer" } } }),
    "with/slash": object({ "a.b": { type: "string" } }),
  }));
  assert.deepEqual(inputs.map(({ kind }) => kind), ["group", "group"]);
  const names = inputs.flatMap(({ inputs }) => inputs).map(({ attributes }) => attributes.name);
  assert.deepEqual(names, ['["seat","row"]', '["with/slash","a.b"]']);
  assert.deepEqual(sent(inputs, { "seat/row": "7" }), { seat: { row: 7 }, "with/slash": {} });
});

Deno.test("what is no schema has no inputs", () => {
  for (const nothing of [undefined, null, true, {}]) assert.deepEqual(inputsOf(nothing), []);
});

Deno.test("an interrupt expires at its time, and one without a time never", () => {
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const interrupt = { id: "i", reason: "tool_call" };
  assert.equal(isExpired(interrupt), false);
  assert.equal(isExpired({ ...interrupt, expiresAt: at(60_000) }), false);
  assert.equal(isExpired({ ...interrupt, expiresAt: at(-1_000) }), true);
});

Deno.test("the schemas of pydantic's models give answers that fit them", () => {
  const inputs = inputsOf(object({
    note: { anyOf: [{ type: "string" }, { type: "null" }], default: null },
    size: { anyOf: [{ enum: ["s", "l"] }, { type: "null" }], default: null },
    either: { anyOf: [{ type: "integer" }, { type: "string" }] },
    row: { type: ["integer", "null"] },
    rows: { type: "array", items: { type: "integer" } },
    needed: { type: "array", items: { type: "string" } },
  }, { required: ["needed"] }));
  const [note, size, either] = inputs;
  assert.deepEqual([note.initial, size.initial, either.kind], [undefined, undefined, "value"]);
  assert.equal(size.choices[0].text, "");
  assert.deepEqual(
    sent(inputs, { note: "", size: "", either: "x", row: "3", rows: "1\n2", needed: "" }),
    { either: "x", row: 3, rows: [1, 2], needed: [] },
  );
  const root = { $ref: "#/$defs/Seat", $defs: { Seat: object({ row: { type: "integer" } }) } };
  assert.deepEqual(inputsOf(root).map(({ key }) => key), ["row"]);
});

Deno.test("a small schema cannot make a form of any size", () => {
  const all = Object.fromEntries(
    Array.from({ length: 40 }, (_, n) => [`p${n}`, { $ref: "#/$defs/A" }]),
  );
  const inputs = inputsOf(object(all, { $defs: { A: object(all) } }));
  const count = (each: Input[]): number =>
    each.reduce((sum, one) => sum + 1 + count(one.inputs), 0);
  assert.ok(count(inputs) <= 500);
});

Deno.test("no schema breaks the form, whatever a server wrote", () => {
  const cyclic = object({ a: { $ref: "#/$defs/A" } }, {
    $defs: { A: { $ref: "#/$defs/B" }, B: { $ref: "#/$defs/A" }, C: {} },
  });
  const endless = object({ a: { $ref: "#/$defs/A" } }, {
    $defs: { A: object({ a: { $ref: "#/$defs/A" }, text: { type: "string" } }) },
  });
  const odd = object({
    yes: true,
    nothing: null,
    list: [1],
    both: { type: ["integer", "null"] },
    nested: { type: "object", properties: 5, required: 5 },
    choices: { enum: 5, oneOf: "x", anyOf: [true, 7], title: 5, description: ["x"] },
    items: { type: "array", items: true },
    texts: { title: { x: 1 }, default: { toString: 1, valueOf: 1 }, format: "constructor" },
    values: { enum: [{ toString: 1 }, null] },
  }, { required: 5 });
  const named = JSON.parse('{"properties": {"__proto__": {"type": "string"}, "constructor": {}}}');
  for (const schema of [cyclic, endless, odd, named, { properties: null }, { $defs: null }]) {
    payloadOf(inputsOf(schema), new FormData());
  }
  assert.equal(inputsOf(odd).find(({ key }) => key === "both")?.isNumber, true);
  assert.deepEqual(inputsOf(named).map(({ key }) => key), ["__proto__", "constructor"]);
  const depth = (inputs: Input[]): number =>
    Math.max(0, ...inputs.map((input) => 1 + depth(input.inputs)));
  assert.equal(depth(inputsOf(endless)), 3);
});
