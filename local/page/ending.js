// @ts-check
/** A run's ending as a sentence. */

/** Sentences for incomplete runs, by reason. @type {Record<string, string>} */
const EARLY = {
  max_output_tokens: "The answer ends here: it reached the longest it may be.",
  content_filter: "The answer ends here: the model's filter stopped it.",
  refusal: "The model refused to answer, so there is no result.",
  max_turns: "The answer ends here: the model took all the turns it may.",
  budget_exceeded: "The answer ends here: your tokens of today are spent.",
};

/**
 * The note below the last message, which may be empty.
 * @param {import("/client/agent.js").AgUiEvent} ending
 */
export const endingNote = ({ type, code, message, outcome, usage, metadata }) => {
  if (type === "RUN_ERROR") return `${message} (${code})`;
  if (outcome?.type === "cancelled") return "Stopped.";
  const early = metadata?.incompleteReason;
  if (early) return EARLY[early] ?? `The answer ends here: ${early}.`;
  const [{ inputTokens = 0, outputTokens = 0 } = {}] = usage ?? [];
  return inputTokens || outputTokens ? `${inputTokens} tokens in, ${outputTokens} out` : "";
};
