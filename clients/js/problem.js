// @ts-check
/** What a person, and most requests, will wait. */
const LONGEST_WAIT_SECONDS = 60;

/** An answer that is not what was asked for: RFC 9457, with the backend's stable `code` (docs/api.md lists them). */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{ code?: string, detail?: string, request_id?: string, errors?: { at: string, error: string }[] }} body
   * @param {number} [retryAfter] seconds
   */
  constructor(status, body, retryAfter) {
    super(body.detail ?? `The backend answered ${status}.`);
    this.name = "Problem";
    this.status = status;
    /** `unknown` where something on the way answered, and not the backend. */
    this.code = body.code ?? "unknown";
    /** What finds it in the backend's log. */
    this.requestId = body.request_id ?? "";
    /** Which members of the request are wrong, and why. */
    this.errors = body.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may work in a moment: not where it is told to come back tomorrow. */
  get isPassing() {
    if (this.retryAfter !== undefined) return this.retryAfter <= LONGEST_WAIT_SECONDS;
    return this.status > 501 || this.status === 408;
  }

  /**
   * The problem an answer tells.
   * @param {Response} response
   */
  static async of(response) {
    const body = await response.json().catch(() => ({}));
    const seconds = Number(response.headers.get("retry-after") ?? NaN);
    return new Problem(response.status, body ?? {}, seconds >= 0 ? seconds : undefined);
  }
}
