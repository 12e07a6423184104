// A backend that replays recorded bytes as the function `assistant` does, and cuts its answers at given places.

import type { AgUiEvent } from "../../clients/js/agent.js";

export type Frame = { id: string; bytes: Uint8Array; type: string; event: AgUiEvent };
export type Received = { method: string; path: string; cursor: string | null; body: string };

export const NAMES = ["text", "reasoning", "tool", "question", "snapshot"];

export const recorded = (name: string): Uint8Array =>
  Deno.readFileSync(new URL(`recorded/${name}.sse`, import.meta.url));

/** The frames of a recording; read by another way than the client's. */
export const frames = (bytes: Uint8Array): Frame[] =>
  new TextDecoder().decode(bytes).split("\n\n").filter((text) => text !== "").map((text) => {
    const [id, data] = text.split("\n");
    const event = JSON.parse(data.slice("data: ".length));
    const encoded = new TextEncoder().encode(text + "\n\n");
    return { id: id.slice("id: ".length), bytes: encoded, type: event.type, event };
  });

const joined = (parts: Uint8Array[]) => {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

const headers = { "content-type": "text/event-stream; charset=utf-8" };

export const stream = (bytes: Uint8Array, { breaks = false, step = bytes.length || 1 } = {}) =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += step) {
          controller.enqueue(bytes.slice(at, at + step));
        }
      },
      // Only once all was read: an error discards buffered bytes.
      pull(controller) {
        if (breaks) controller.error(new TypeError("the connection broke"));
        else controller.close();
      },
    }, { highWaterMark: 0 }),
    { headers },
  );

/** Where each answer is cut, in turn (no more: the rest is whole), and how. */
export type Cuts = { at: number[]; breaks?: boolean; step?: number };

/** A `fetch` to a backend with one run; its requests are in `requests`. */
export const backend = (recording: Uint8Array, { at, breaks, step }: Cuts) => {
  const all = frames(recording);
  const cuts = [...at];
  const requests: Received[] = [];
  const fetch = (url: string | URL | Request, init: RequestInit = {}) => {
    const cursor = new Headers(init.headers).get("last-event-id");
    const { pathname } = new URL(String(url));
    requests.push({
      method: init.method ?? "GET",
      path: pathname,
      cursor,
      body: String(init.body),
    });
    const place = cursor === "0.0" ? -1 : all.findIndex(({ id }) => id === cursor);
    const rest = joined(all.slice(place + 1).map(({ bytes }) => bytes));
    const cut = cuts.shift();
    const bytes = cut === undefined ? rest : rest.slice(0, cut);
    return Promise.resolve(stream(bytes, { breaks: breaks && cut !== undefined, step }));
  };
  return { fetch: fetch as typeof globalThis.fetch, requests };
};
