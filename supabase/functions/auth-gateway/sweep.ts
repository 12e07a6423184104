import type { Destination } from "./addresses.ts";
import type { Mint } from "./assertions.ts";
import { requestHeaders } from "./headers.ts";
import { unauthorized } from "./problems.ts";

/** Who a sweep is for, in place of a user: nobody. */
const NOBODY = { sub: "sweep", sessionId: "sweep", tokenHash: "" };
const HEADER = "x-sweep-secret";

/** What the schedule may reach, and nobody else: it exists only where a secret is set. */
export const scheduled = { agent: { "/sweep": ["POST"] } } as const;

/** Whether the request goes where only the schedule may. */
export const isSweep = (to: Destination): boolean => to.route === "/sweep";

/**
 * The headers of a sweep, for who knows the secret. Nothing the caller sent goes on: a sweep is the
 * same whoever asks for it, and gives no rights.
 */
export const sweepHeaders = async (
  caller: Headers,
  to: Destination,
  id: string,
  { secret, mint }: { secret: string | undefined; mint: Mint },
): Promise<Headers> => {
  if (secret === undefined || !await isSame(caller.get(HEADER) ?? "", secret)) throw unauthorized();
  const { function: name, path } = to;
  const assertion = await mint({ ...NOBODY, function: name, method: "POST", path });
  return requestHeaders(new Headers(), id, assertion);
};

/** Compared by their hashes, so that how long it takes tells nothing about the secret. */
const isSame = async (given: string, secret: string): Promise<boolean> => {
  const [left, right] = await Promise.all([digest(given), digest(secret)]);
  return left.reduce((different, byte, at) => different | (byte ^ (right[at] ?? 0)), 0) === 0;
};

const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
