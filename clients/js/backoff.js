// @ts-check
import { Problem } from "./problem.js";

/**
 * The time to wait before the next connection, in ms: 0 after one that brought events.
 * @param {number} failures
 * @param {unknown} failure
 */
export const delay = (failures, failure) => {
  const requested = failure instanceof Problem ? (failure.retryAfter ?? 0) * 1000 : 0;
  const backOff = failures && Math.min(10_000, 125 * 2 ** failures) * (0.5 + Math.random() / 2);
  return Math.max(requested, backOff);
};

/**
 * Wait. If the signal aborts, this throws its reason.
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export const pause = (ms, signal) =>
  new Promise((done, fail) => {
    const stop = () => {
      clearTimeout(timer);
      fail(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      done();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
