// The timeline that the runs view makes of a run's log.
import assert from "node:assert/strict";
import { type Row, timeline } from "../../local/page/timeline.js";

const START = Date.parse("2026-01-01T00:00:00Z");

const log = (...events: [at: number, type: string, data?: unknown, attempt?: number][]): Row[] =>
  events.map(([at, type, data = {}, attempt = 1], n) => ({
    attempt,
    seq: n + 1,
    count: 1,
    type,
    itemId: Object(data).id ?? null,
    data,
    createdAt: new Date(START + at).toISOString(),
  }));

const turn = (input: number, output: number) => ({
  usage: { input_tokens: input, output_tokens: output },
});

Deno.test("an answer with a call: turns, the call, the first token and the tokens", () => {
  const found = timeline(log(
    [0, "run.queued"],
    [100, "run.started"],
    [300, "item.started", { id: "c", kind: "tool_call", name: "get_weather" }],
    [350, "turn.finished", turn(7, 3)],
    [350, "item.started", { id: "r", kind: "tool_result", call_id: "c" }],
    [600, "item.completed", { kind: "tool_result", item: { call_id: "c", content: "" } }],
    [900, "item.delta", { channel: "text", deltas: ["a"] }],
    [1000, "turn.finished", turn(9, 1)],
    [1000, "run.completed"],
  ));
  assert.deepEqual(found.spans.map(({ label, from, to }) => [label, from, to]), [
    ["waits", 0, 100],
    ["turn 1", 100, 350],
    ["get_weather", 350, 600],
    ["turn 2", 600, 1000],
  ]);
  const { firstToken, turns, calls, attempts, inputTokens, outputTokens, ending, length } = found;
  assert.deepEqual(
    [firstToken, turns, calls, attempts, inputTokens, outputTokens, ending, length],
    [900, 2, 1, 1, 16, 4, "completed", 1000],
  );
});

Deno.test("a takeover: the lost attempt, and the new one", () => {
  const found = timeline(log(
    [0, "run.started"],
    [200, "item.delta", { channel: "text", deltas: ["a"] }],
    [5000, "item.aborted", { reason: "takeover" }, 2],
    [6000, "turn.finished", turn(1, 1), 2],
    [6000, "run.completed", {}, 2],
  ));
  assert.deepEqual(found.moments.map(({ label, at, isBad }) => [label, at, isBad]), [
    ["attempt 2 takes over", 5000, true],
    ["taken back", 5000, true],
    ["completed", 6000, false],
  ]);
  assert.deepEqual(found.spans.map(({ label, note, to }) => [label, note, to])[0], [
    "turn",
    "lost",
    5000,
  ]);
  assert.equal(found.attempts, 2);
});

Deno.test("a running part is open up to the last event, and an empty log is an empty timeline", () => {
  const found = timeline(log(
    [0, "run.started"],
    [10, "item.started", { id: "c", kind: "tool_call", name: "slow" }],
    [20, "turn.finished", turn(1, 1)],
    [20, "item.started", { id: "r", kind: "tool_result", call_id: "c" }],
    [90, "item.started", { id: "d", kind: "tool_result", call_id: "e" }],
  ));
  assert.deepEqual(found.spans.at(1), {
    kind: "call",
    label: "slow",
    from: 20,
    to: 90,
    note: "no result",
  });
  assert.deepEqual([timeline([]).spans, timeline([]).ending], [[], ""]);
});
