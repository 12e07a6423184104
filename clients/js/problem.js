// @ts-check
/** A longer `Retry-After` is not worth waiting for. */
const LONGEST_WAIT_SECONDS = 60;

/** An error response (RFC 9457), with the backend's stable `code` (docs/api.md lists them). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{ code?: string, detail?: string, request_id?: string, errors?: { at: string, error: string }[] }} body
   * @param {number} [retryAfter] seconds
   */
  constructor(status, body, retryAfter) {
    super(body.detail ?? `The backend responded ${status}.`);
    this.name = "Problem";
    this.status = status;
    /** `unknown` if the response came from a proxy, and not from the backend. */
    this.code = body.code ?? "unknown";
    /** The id of the request in the backend's log. */
    this.requestId = body.request_id ?? "";
    /** The invalid members of the request, with reasons. */
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether a retry within a minute may succeed. */
  get isTransient() {
    if (this.retryAfter !== undefined) return this.retryAfter <= LONGEST_WAIT_SECONDS;
    return this.status > 501 || this.status === 408;
  }

  /**
   * The problem of an error response.
   * @param {Response} response
   */
  static async of(response) {
    const body = await response.json().catch(() => ({}));
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    return new Problem(response.status, body ?? {}, seconds >= 0 ? seconds : undefined);
  }
}

/**
 * The error for the caller: the backend's own problem if there is one.
 * @param {unknown} failure
 */
export const errorOf = (failure) =>
  failure instanceof Problem && failure.code !== "unknown"
    ? failure
    : new Error("The backend cannot be reached.", { cause: failure });
