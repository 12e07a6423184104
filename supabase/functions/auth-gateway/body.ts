import { bodyTooLarge } from "./problems.ts";

/** The body to send upstream, and whether it can be sent a second time. */
export type Body = {
  content: ReadableStream<Uint8Array> | ArrayBuffer | null;
  repeatable: boolean;
};

const BUFFER_BYTES = 64 * 1024;

/**
 * Pass the request's body on as a stream; read it into memory only if it is small and a retry may
 * need it. A body of more than `maxBytes` aborts `controller` with a Refusal.
 */
export const takeBody = async (
  request: Request,
  maxBytes: number,
  controller: AbortController,
): Promise<Body> => {
  if (request.body === null || request.method === "GET" || request.method === "HEAD") {
    return { content: null, repeatable: true };
  }
  const length = declaredLength(request.headers);
  if (length > maxBytes) throw bodyTooLarge(maxBytes);
  const counted = request.body.pipeThrough(counter(maxBytes, controller), {
    signal: controller.signal,
  });
  if (!request.headers.has("idempotency-key") || !(length <= BUFFER_BYTES)) {
    return { content: counted, repeatable: false };
  }
  return { content: await new Response(counted).arrayBuffer(), repeatable: true };
};

const declaredLength = (headers: Headers): number => Number(headers.get("content-length") ?? NaN);

const counter = (maxBytes: number, controller: AbortController) => {
  let seen = 0;
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, stream) {
      seen += chunk.byteLength;
      if (seen <= maxBytes) return stream.enqueue(chunk);
      controller.abort(bodyTooLarge(maxBytes));
    },
  });
};
