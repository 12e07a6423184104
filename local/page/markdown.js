// @ts-check
/** Parses the Markdown that models write into a tree. Pure; other syntax, such as HTML, stays text. */

/**
 * An element, with attributes and children from the closed lists below, or text.
 * @typedef {string | { tag: Tag, attributes: Record<string, string>, children: Tree[] }} Tree
 */
/**
 * @typedef {"p" | "pre" | "code" | "ul" | "ol" | "li" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "hr" | "strong"
 *   | "em" | "del" | "a" | "table" | "thead" | "tbody" | "tr" | "th" | "td" | "br" | "div"} Tag
 */

/** @param {Tag} tag @param {Tree[]} children @param {Record<string, string>} [attributes] @returns {Tree} */
const node = (tag, children, attributes = {}) => ({ tag, attributes, children });

/** The deepest nesting of lists and quotes; deeper ones stay text. */
const DEEPEST = 8;

/**
 * The blocks of a text, which may be incomplete.
 * @param {string} text
 * @returns {Tree[]}
 */
export const markdown = (text) => blocks(text.replaceAll("\r\n", "\n").split("\n"), 0);

/** @param {string[]} lines @param {number} depth @returns {Tree[]} */
const blocks = (lines, depth) => {
  const trees = [];
  for (let at = 0; at < lines.length;) {
    const block = BLOCKS.find(({ opens }) => opens.test(lines[at])) ?? PARAGRAPH;
    const end = block.ends(lines, at);
    trees.push(...(depth < DEEPEST ? block : PARAGRAPH).make(lines.slice(at, end), depth));
    at = end;
  }
  return trees;
};

/**
 * @typedef {{ opens: RegExp, ends: (lines: string[], at: number) => number,
 *   make: (lines: string[], depth: number) => Tree[] }} Block
 */

/** The first line after `at` that does not match. @param {RegExp} like @returns {Block["ends"]} */
const whileLike = (like) => (lines, at) => {
  let end = at + 1;
  while (end < lines.length && like.test(lines[end])) end++;
  return end;
};

/** @type {Block["ends"]} */
const endOfFence = (lines, at) => {
  const fence = /^\s*(`{3,}|~{3,})/.exec(lines[at])?.[1] ?? "```";
  const close = lines.findIndex((line, n) => n > at && line.trim() === fence);
  return close < 0 ? lines.length : close + 1;
};

/** @type {Block["make"]} */
const fence = ([opening, ...lines]) => {
  const mark = opening.trim().slice(0, 3);
  const code = lines.at(-1)?.trim().startsWith(mark) ? lines.slice(0, -1) : lines;
  const language = /[\w+#-]+/.exec(opening)?.[0];
  const attributes = {
    tabindex: "0",
    role: "group",
    "aria-label": `Code${language ? `: ${language}` : ""}`,
  };
  return [node("pre", [node("code", [code.join("\n")])], attributes)];
};

/** @type {Block["make"]} */
const heading = ([line]) => {
  const [, marks, title] = /^ {0,3}(#{1,6}) +(.*?)[ #]*$/.exec(line) ?? [, "#", line];
  // Below the h2 of the view; models mostly start with the second level, so that one becomes h3, too.
  const tag = /** @type {Tag} */ (`h${Math.min(6, Math.max(3, marks.length + 1))}`);
  return [node(tag, inline(title))];
};

const MARKER = /^( *)(?:[-*+]|\d{1,9}[.)]) +/;

/** @type {Block["make"]} */
const list = (lines, depth) => {
  const indent = MARKER.exec(lines[0])?.[1].length ?? 0;
  const first = /(\d+)[.)]/.exec(lines[0].slice(0, 12))?.[1];
  /** @type {string[][]} */
  const items = [];
  for (const line of lines) {
    const match = MARKER.exec(line);
    if (match && match[1].length <= indent + 1) items.push([line.slice(match[0].length)]);
    else items.at(-1)?.push(line.replace(/^ {1,4}/, ""));
  }
  const children = items.map((item) => node("li", tight(blocks(item, depth + 1))));
  return [node(first ? "ol" : "ul", children, first && first !== "1" ? { start: first } : {})];
};

/** An item's content, without the paragraph around its text. @param {Tree[]} trees @returns {Tree[]} */
const tight = ([first, ...rest]) =>
  typeof first === "object" && first.tag === "p"
    ? [...first.children, ...rest]
    : [first ?? "", ...rest];

/** @type {Block["make"]} */
const quote = (lines, depth) => [
  node("blockquote", blocks(lines.map((line) => line.replace(/^ {0,3}> ?/, "")), depth + 1)),
];

/** @param {string} line */
const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|");

/** @type {Block["make"]} */
const table = (lines) => {
  if (!/^[\s|:-]+$/.test(lines[1] ?? "")) return PARAGRAPH.make(lines, 0);
  /** @param {string} line @param {"th" | "td"} tag */
  const row = (line, tag) => node("tr", cells(line).map((cell) => node(tag, inline(cell.trim()))));
  const body = lines.slice(2).map((line) => row(line, "td"));
  const grid = node("table", [node("thead", [row(lines[0], "th")]), node("tbody", body)]);
  return [
    node("div", [grid], { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }),
  ];
};

/** @type {Block[]} */
const BLOCKS = [
  { opens: /^\s*$/, ends: whileLike(/^\s*$/), make: () => [] },
  { opens: /^ {0,3}(`{3,}|~{3,})/, ends: endOfFence, make: fence },
  { opens: /^ {0,3}#{1,6} /, ends: (_, at) => at + 1, make: heading },
  { opens: /^ {0,3}([-*_] *){3,}$/, ends: (_, at) => at + 1, make: () => [node("hr", [])] },
  { opens: /^ {0,3}>/, ends: whileLike(/^ {0,3}>/), make: quote },
  { opens: MARKER, ends: whileLike(/^( *([-*+]|\d{1,9}[.)]) +| {2,}\S)/), make: list },
  { opens: /^ {0,3}\|/, ends: whileLike(/^ {0,3}\|/), make: table },
];

/** @type {Block} */
const PARAGRAPH = {
  opens: /./,
  ends: (lines, at) => {
    let end = at + 1;
    while (end < lines.length && !BLOCKS.some(({ opens }) => opens.test(lines[end]))) end++;
    return end;
  },
  make: (lines) => [node("p", inline(lines.join("\n")))],
};

/** Lengths are limited, so that no text makes this slow. */
const SPANS =
  /(`{1,2})([^`\n]{1,500})\1|\*\*(?=\S)([^\n]{1,500}?\S)\*\*|\*(?=\S)([^*\n]{1,500})\*|\b_([^_\n]{1,500})_\b|~~([^~\n]{1,500})~~|!?\[([^[\]\n]{0,300})\]\(([^\s()<>]{1,1000})(?: "[^"\n]{0,200}")?\)|(https?:\/\/[^\s<>()"']{1,1000}[^\s<>()"'.,;:!?])| {2}\n/g;

/** @param {string} text @returns {Tree[]} */
const inline = (text) => {
  /** @type {Tree[]} */
  const trees = [];
  let end = 0;
  for (const match of text.matchAll(SPANS)) {
    if (match.index > end) trees.push(text.slice(end, match.index));
    trees.push(span(match));
    end = match.index + match[0].length;
  }
  return end < text.length ? [...trees, text.slice(end)] : trees;
};

/** @param {RegExpMatchArray} match @returns {Tree} */
const span = ([whole, , code, strong, star, underscore, struck, label, target, bare]) => {
  if (code !== undefined) return node("code", [code]);
  if (strong !== undefined) return node("strong", inline(strong));
  if (struck !== undefined) return node("del", inline(struck));
  if (bare !== undefined) return link(bare, [bare], whole);
  if (target !== undefined) return link(target, label ? inline(label) : [target], whole);
  const emphasis = star ?? underscore;
  return emphasis === undefined ? node("br", []) : node("em", inline(emphasis));
};

/**
 * A link with http or https. An image becomes a link, too: loading it would reveal the reader to its server.
 * @param {string} target @param {Tree[]} label @param {string} whole @returns {Tree}
 */
const link = (target, label, whole) => {
  if (!/^https?:\/\//i.test(target) || !URL.canParse(target)) return whole;
  return node("a", label, { href: target, rel: "noopener noreferrer nofollow", target: "_blank" });
};
