// Server-sent events as WHATWG HTML §9.2 has them.
import assert from "node:assert/strict";
import { EventParser } from "../../clients/js/sse.js";

const bytes = (text: string) => new TextEncoder().encode(text);

const parsed = (text: string, step: number) => {
  const parser = new EventParser();
  const all = bytes(text);
  const found = [];
  for (let at = 0; at < all.length; at += step) {
    found.push(...parser.push(all.slice(at, at + step)));
  }
  return found.map(({ id, data }) => [id, data]);
};

const CASES: Record<string, [string, string[][]]> = {
  "line feeds": ["id: 1\ndata: a\n\ndata: b\n\n", [["1", "a"], ["1", "b"]]],
  "carriage returns and line feeds": ["id: 1\r\ndata: a\r\n\r\ndata: b\r\n\r\n", [["1", "a"], [
    "1",
    "b",
  ]]],
  "carriage returns": ["id: 1\rdata: a\r\rdata: b\r\r", [["1", "a"], ["1", "b"]]],
  "data of several lines": ["data: a\ndata:\ndata:  b\n\n", [["", "a\n\n b"]]],
  "data of several lines, with carriage returns": [
    "data: a\r\ndata: b\r\n\r\n",
    [["", "a\nb"]],
  ],
  "comments, other fields and fields without a colon": [": ping\n\nretry: 1\nevent: x\ndata\n\n", [[
    "",
    "",
  ]]],
  "an id without data": ["id: 7\n\ndata: a\n\n", [["7", "a"]]],
  "an id with a zero is none": ["id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [["1", "a"], ["1", "b"]]],
  "a byte order mark": ["\uFEFFdata: a\n\n", [["", "a"]]],
  "letters of several bytes": ["data: ü🎈\n\n", [["", "ü🎈"]]],
  "an event that is not whole": ["data: a\n\ndata: b\n", [["", "a"]]],
};

for (const [name, [text, expected]] of Object.entries(CASES)) {
  Deno.test(name, () => {
    for (const step of [1, 2, 3, text.length * 4]) assert.deepEqual(parsed(text, step), expected);
  });
}
