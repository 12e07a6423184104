// @ts-check
/**
 * An interrupt: a question that a run ends with.
 * @typedef {{ id: string, reason: string, message?: string, toolCallId?: string,
 *   responseSchema?: Record<string, unknown>, expiresAt?: string, metadata?: { agent?: string } }} Interrupt
 */
/**
 * An answer: an entry in the `resume` of the thread's next run, which must answer all open interrupts.
 * @typedef {{ interruptId: string, status: "resolved" | "cancelled", payload?: unknown }} Answer
 */

/**
 * Approve a call; with other arguments if the interrupt allows that.
 * @param {Interrupt} interrupt
 * @param {Record<string, unknown>} [changed]
 * @returns {Answer}
 */
export const approve = ({ id }, changed) => ({
  interruptId: id,
  status: "resolved",
  payload: { approved: true, ...(changed ? { arguments: changed } : {}) },
});

/**
 * Refuse a call. The model gets the refusal and its reason.
 * @param {Interrupt} interrupt
 * @param {string} [reason]
 * @returns {Answer}
 */
export const refuse = ({ id }, reason) => ({
  interruptId: id,
  status: "resolved",
  payload: { approved: false, ...(reason ? { reason } : {}) },
});

/**
 * Answer a tool's question (an interrupt whose `reason` is `input_required`).
 * @param {Interrupt} interrupt
 * @param {unknown} payload
 * @returns {Answer}
 */
export const answer = ({ id }, payload) => ({ interruptId: id, status: "resolved", payload });

/**
 * Dismiss an interrupt without an answer: the call is not made.
 * @param {Interrupt} interrupt
 * @returns {Answer}
 */
export const dismiss = ({ id }) => ({ interruptId: id, status: "cancelled" });

/**
 * Whether an interrupt can no longer be answered: only `dismiss` is accepted.
 * @param {Interrupt} interrupt
 */
export const isExpired = ({ expiresAt }) =>
  Boolean(expiresAt) && Date.parse(String(expiresAt)) <= Date.now();

/**
 * The agent that raised the interrupts of a run. Only it takes the answers.
 * @param {Interrupt[]} interrupts
 */
export const agentOf = (interrupts) => interrupts[0]?.metadata?.agent;

/**
 * Whether the user may change the arguments of the interrupt's call.
 * @param {Interrupt} interrupt
 */
export const mayChange = ({ responseSchema }) =>
  "arguments" in Object(Object(responseSchema).properties);
