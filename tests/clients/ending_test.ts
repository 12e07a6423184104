// The sentence below an answer.
import assert from "node:assert/strict";
import { endingNote } from "../../local/page/ending.js";

Deno.test("an ending that needs an explanation has a sentence", () => {
  const finished = { type: "RUN_FINISHED", outcome: { type: "success" } };
  const early = (incompleteReason: string) =>
    endingNote({ ...finished, metadata: { incompleteReason } });
  assert.equal(endingNote(finished), "");
  assert.equal(
    endingNote({ ...finished, usage: [{ inputTokens: 2, outputTokens: 3 }] }),
    "2 tokens in, 3 out",
  );
  assert.equal(endingNote({ ...finished, outcome: { type: "cancelled" } }), "Stopped.");
  assert.equal(
    endingNote({ type: "RUN_ERROR", code: "model_failed", message: "It failed." }),
    "It failed. (model_failed)",
  );
  assert.match(early("max_output_tokens"), /^The answer ends here: it reached/);
  assert.match(early("refusal"), /^The model refused/);
  assert.equal(early("something_new"), "The answer ends here: something_new.");
});
