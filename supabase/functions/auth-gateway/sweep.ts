import type { Destination } from "./addresses.ts";
import type { Mint } from "./assertions.ts";
import { requestHeaders } from "./headers.ts";
import { unauthorized } from "./problems.ts";

/** The caller that a sweep's assertion names: a sweep acts for no user. */
const NO_USER = { sub: "sweep", sessionId: "sweep", tokenHash: "" };
const HEADER = "x-sweep-secret";

/** Whether the request is for the schedule's route. */
export const isSweep = (to: Destination): boolean => to.route === "/sweep";

/**
 * The headers of a sweep, for a caller with the secret. Nothing of the caller's request is passed
 * on: all sweeps are the same, and give no rights. Throws a Refusal without the right secret.
 */
export const sweepHeaders = async (
  caller: Headers,
  to: Destination,
  id: string,
  { secret, mint }: { secret: string | undefined; mint: Mint },
): Promise<Headers> => {
  if (secret === undefined || !await isSame(caller.get(HEADER) ?? "", secret)) {
    throw unauthorized(caller.has(HEADER) ? "sweep_secret.wrong" : "sweep_secret.missing");
  }
  const { function: name, path } = to;
  const assertion = await mint({ ...NO_USER, function: name, method: "POST", path });
  return requestHeaders(new Headers(), id, assertion);
};

/** Compare hashes, so that the time it takes reveals nothing about the secret. */
const isSame = async (header: string, secret: string): Promise<boolean> => {
  const [left, right] = await Promise.all([digest(header), digest(secret)]);
  return left.reduce((different, byte, at) => different | (byte ^ (right[at] ?? 0)), 0) === 0;
};

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
