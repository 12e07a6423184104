// @ts-check
/**
 * A question a run ended with.
 * @typedef {{ id: string, reason: string, message?: string, toolCallId?: string,
 *   responseSchema?: Record<string, unknown>, expiresAt?: string }} Interrupt
 */
/**
 * An answer: an entry of the `resume` of the next run of the thread, which has to cover all of its open questions.
 * @typedef {{ interruptId: string, status: "resolved" | "cancelled", payload?: unknown }} Answer
 */

/**
 * The user's yes, with the call's arguments as the user changed them where the question allows that.
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
 * The user's no, of which the model is told.
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
 * What a tool wanted to know (`reason` is `input_required`).
 * @param {Interrupt} interrupt
 * @param {unknown} payload
 * @returns {Answer}
 */
export const answer = ({ id }, payload) => ({ interruptId: id, status: "resolved", payload });

/**
 * No answer at all: the call is not made.
 * @param {Interrupt} interrupt
 * @returns {Answer}
 */
export const dismiss = ({ id }) => ({ interruptId: id, status: "cancelled" });

/**
 * Whether the user may change the arguments of the call this is about.
 * @param {Interrupt} interrupt
 */
export const mayChange = ({ responseSchema }) =>
  "arguments" in Object(Object(responseSchema).properties);
