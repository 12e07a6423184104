// @ts-check
import { Problem } from "./problem.js";

/**
 * How long to wait, in ms: not at all behind an answer that brought something.
 * @param {number} failures
 * @param {unknown} failure
 */
export const delay = (failures, failure) => {
  const asked = failure instanceof Problem ? (failure.retryAfter ?? 0) * 1000 : 0;
  const backOff = failures && Math.min(10_000, 125 * 2 ** failures) * (0.5 + Math.random() / 2);
  return Math.max(asked, backOff);
};

/**
 * Wait, unless the signal ends it: then this throws its reason.
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
