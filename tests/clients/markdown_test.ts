// The page's Markdown: what models write, and nothing that could run or load.
import assert from "node:assert/strict";
import { markdown, type Tree } from "../../local/page/markdown.js";

const written = (trees: Tree[]): string =>
  trees.map((tree) => {
    if (typeof tree === "string") return tree;
    const href = tree.attributes.href ? ` ${tree.attributes.href}` : "";
    return `<${tree.tag}${href}>${written(tree.children)}</${tree.tag}>`;
  }).join("");

const CASES: Record<string, [string, string]> = {
  "paragraphs": ["a\nb\n\nc", "<p>a\nb</p><p>c</p>"],
  "headings": ["# A\n## B\n### C #", "<h3>A</h3><h3>B</h3><h4>C</h4>"],
  "emphasis": [
    "**a *b* c** ~~d~~ _e_",
    "<p><strong>a <em>b</em> c</strong> <del>d</del> <em>e</em></p>",
  ],
  "names with underscores": ["delete_a_note", "<p>delete_a_note</p>"],
  "code": ["a `**b**` c", "<p>a <code>**b**</code> c</p>"],
  "a block of code": ["```js\n<b>\n\n# x\n```\nd", "<pre><code><b>\n\n# x</code></pre><p>d</p>"],
  "a block of code that is still written": ["```\na\n", "<pre><code>a\n</code></pre>"],
  "lists in lists": [
    "- a\n  - b\n  - c\n- d",
    "<ul><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ul>",
  ],
  "numbers": ["3. a\n4. b", "<ol><li>a</li><li>b</li></ol>"],
  "quotes": ["> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"],
  "a rule": ["a\n\n---\nb", "<p>a</p><hr></hr><p>b</p>"],
  "a table": [
    "| a | b |\n|--|:-:|\n| c | d |",
    "<div><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>c</td><td>d</td></tr></tbody></table></div>",
  ],
  "links": ["[a](https://b.example/c)", "<p><a https://b.example/c>a</a></p>"],
  "bare links": [
    "see https://b.example/c.",
    "<p>see <a https://b.example/c>https://b.example/c</a>.</p>",
  ],
  "an image is a link": [
    "![a](https://b.example/c.png)",
    "<p><a https://b.example/c.png>a</a></p>",
  ],
  "html": ["<img src=x onerror=alert(1)>", "<p><img src=x onerror=alert(1)></p>"],
};

for (const [name, [text, expected]] of Object.entries(CASES)) {
  Deno.test(name, () => assert.equal(written(markdown(text)), expected));
}

Deno.test("a link leads to the web, or is text", () => {
  const bad = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "//evil.example",
    "/local/token/admin",
    "https:",
    "java\tscript:alert(1)",
    "\u0001javascript:alert(1)",
    "https://[",
  ];
  for (const target of bad) {
    for (const text of [`[a](${target})`, `![a](${target})`, target]) {
      assert.doesNotMatch(written(markdown(text)), /<a /, target);
    }
  }
});

const attributes = (trees: Tree[]): string[] =>
  trees.flatMap((tree) =>
    typeof tree === "string" ? [] : [...Object.keys(tree.attributes), ...attributes(tree.children)]
  );

const HOSTILE = [
  "[",
  "**a",
  "`a",
  "*a",
  "_a ",
  "> ",
  "- ",
  "  - a\n",
  "![",
  "[a](",
  "https://",
  "| |\n",
  "~~a",
  "```\n",
];

Deno.test("no text makes an attribute that is not on the list", () => {
  const known = new Set([
    "href",
    "rel",
    "target",
    "start",
    "class",
    "tabindex",
    "role",
    "aria-label",
  ]);
  const pieces = [
    "[",
    "](",
    ")",
    "`",
    "```",
    "**",
    "*",
    "_",
    "~~",
    "\n",
    "- ",
    "> ",
    "# ",
    "| ",
    "1. ",
    "!",
    " ",
    "https://a.example/",
    'onclick="x"',
    "<script>",
    "javascript:",
    '"',
    "x",
  ];
  let seed = 7;
  const next = () => (seed = (seed * 1103515245 + 12345) % 2 ** 31);
  for (let round = 0; round < 3000; round++) {
    const text = Array.from({ length: next() % 40 }, () => pieces[next() % pieces.length]).join("");
    for (const name of attributes(markdown(text))) assert.ok(known.has(name), `${name} of ${text}`);
  }
});

// Time that grew with the square of the length would not come to an end here.
Deno.test("long hostile texts are read to their end", () => {
  for (const piece of HOSTILE) {
    const text = piece.repeat(80_000);
    assert.ok(markdown(`${text}\n\nend`).length > 0, JSON.stringify(piece));
  }
});
