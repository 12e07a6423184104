import assert from "node:assert/strict";
import { type Lines, problem, requestTo, soon, testGateway, upstream } from "./doubles.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const SSE = { headers: { "content-type": "text/event-stream" } };

/** A stream that the test writes; `cancelled` resolves when its reader cancels it. */
const byHand = () => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const cancelled = Promise.withResolvers<void>();
  const stream = new ReadableStream<Uint8Array>({
    start: (given) => void (controller = given),
    cancel: () => cancelled.resolve(),
  });
  const write = (text: string) => controller?.enqueue(bytes(text));
  return { stream, write, close: () => controller?.close(), cancelled: cancelled.promise };
};

/** A fetch that gets no headers, and ends when its signal aborts. */
const silent = () => {
  const requested = Promise.withResolvers<AbortSignal>();
  const { seen, fetch } = upstream(({ init }) =>
    new Promise((_, reject) => {
      const signal = init.signal;
      if (!signal) return;
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      requested.resolve(signal);
    })
  );
  return { seen, fetch, requested: requested.promise };
};

Deno.test("each piece of a stream passes before the next one exists", async () => {
  const { stream, write, close } = byHand();
  const { fetch } = upstream(() => new Response(stream, SSE));
  const response = await soon((await testGateway({ fetch }))(requestTo()));
  const reader = response.body?.getReader();
  for (const piece of ["id: 1.1\n\n", ": ping\n\n", "data: x\n\n"]) {
    write(piece);
    const { value } = await soon(reader?.read() ?? Promise.reject());
    assert.equal(new TextDecoder().decode(value), piece);
  }
  close();
  assert.equal((await soon(reader?.read() ?? Promise.reject())).done, true);
});

Deno.test("a stream outlives the header time-out", async () => {
  const { stream, write, close } = byHand();
  const { seen, fetch } = upstream(() => new Response(stream, SSE));
  const limits = { maxBodyBytes: 1000, headerTimeoutSeconds: 0.02 };
  const response = await soon((await testGateway({ fetch, limits }))(requestTo()));
  const fired = Promise.withResolvers<void>();
  setTimeout(fired.resolve, 60);
  await fired.promise;
  assert.equal(seen[0]?.init.signal?.aborted, false);
  write("late");
  close();
  assert.equal(await soon(response.text()), "late");
});

Deno.test("a caller that stops reading stops the function", async () => {
  const { stream, write, cancelled } = byHand();
  const { fetch } = upstream(() => new Response(stream, SSE));
  const response = await soon((await testGateway({ fetch }))(requestTo()));
  write("data: 1\n\n");
  await response.body?.cancel();
  await soon(cancelled);
});

Deno.test("a caller that leaves before the headers aborts the function's request", async () => {
  const lines: Lines = [];
  const { fetch, requested, seen } = silent();
  const leaving = new AbortController();
  const handle = await testGateway({ fetch, lines });
  const answer = handle(requestTo("/runs/1", { method: "GET", signal: leaving.signal }));
  const signal = await soon(requested);
  leaving.abort();
  await soon(answer);
  assert.equal(signal.aborted, true);
  assert.equal(lines[0]?.status, 499);
  assert.equal(seen.length, 1);
});

Deno.test("a caller that leaves during the stream aborts the function's request", async () => {
  const { stream } = byHand();
  const { seen, fetch } = upstream(() => new Response(stream, SSE));
  const leaving = new AbortController();
  await soon((await testGateway({ fetch }))(requestTo("/runs", { signal: leaving.signal })));
  leaving.abort();
  assert.equal(seen[0]?.init.signal?.aborted, true);
});

Deno.test("a function that gives no headers in time is unavailable, and its request is aborted", async () => {
  const { fetch, requested } = silent();
  const limits = { maxBodyBytes: 1000, headerTimeoutSeconds: 0.05 };
  const response = await soon(
    (await testGateway({ fetch, limits }))(requestTo("/runs/1", { method: "GET" })),
  );
  assert.equal(response.status, 503);
  assert.ok(response.headers.has("retry-after"));
  assert.equal((await problem(response)).code, "unavailable");
  assert.equal((await requested).aborted, true);
});

Deno.test("the retry is inside the header time-out", async () => {
  const { seen, fetch } = upstream(() => new Response("x", { status: 503 }));
  const limits = { maxBodyBytes: 1000, headerTimeoutSeconds: 0.05 };
  const response = await soon(
    (await testGateway({ fetch, limits }))(requestTo("/runs/1", { method: "GET" })),
  );
  assert.equal((await problem(response)).code, "unavailable");
  assert.equal(seen.length, 1);
});

/** An upstream that reads the request's body, as a function does. */
const reading = () =>
  upstream(async ({ init }) => {
    init.signal?.throwIfAborted();
    return new Response(await new Response(init.body).text());
  });

Deno.test("a body passes piece by piece and unchanged", async () => {
  const { stream, write, close } = byHand();
  const got: string[] = [];
  const arrived = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const { fetch } = upstream(async ({ init }) => {
    assert.ok(init.body instanceof ReadableStream);
    for await (const piece of init.body) {
      arrived[got.length]?.resolve();
      got.push(new TextDecoder().decode(piece));
    }
    return Response.json({});
  });
  const answer = (await testGateway({ fetch }))(requestTo("/runs", { body: stream }));
  write("one");
  await soon(arrived[0]?.promise ?? Promise.reject());
  write("two");
  await soon(arrived[1]?.promise ?? Promise.reject());
  close();
  assert.equal((await soon(answer)).status, 200);
  assert.deepEqual(got, ["one", "two"]);
});

for (const size of [0, 1, 1000]) {
  Deno.test(`a body of ${size} bytes is within the cap`, async () => {
    const { fetch } = reading();
    const response = await soon(
      (await testGateway({ fetch }))(requestTo("/runs", { body: "x".repeat(size) })),
    );
    assert.equal(response.status, 200);
    assert.equal((await response.text()).length, size);
  });
}

Deno.test("a body whose content-length is too large is refused unread", async () => {
  const { seen, fetch } = reading();
  const headers = { "content-length": "1001" };
  const response = await soon(
    (await testGateway({ fetch }))(requestTo("/runs", { headers, body: "x" })),
  );
  assert.equal(response.status, 413);
  assert.equal((await problem(response)).code, "body_too_large");
  assert.equal(seen.length, 0);
});

const wrongHeaders: Record<string, string>[] = [
  {},
  { "content-length": "5" },
  { "content-length": "5", "idempotency-key": "k" },
];
for (const headers of wrongHeaders) {
  const sent = Object.keys(headers).join(", ") || "nothing";
  Deno.test(`a body that grows too large aborts the function's request (headers: ${sent})`, async () => {
    const { seen, fetch } = reading();
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(bytes("x".repeat(400))),
    });
    const response = await soon(
      (await testGateway({ fetch }))(requestTo("/runs", { headers, body })),
    );
    assert.equal(response.status, 413);
    assert.equal((await problem(response)).code, "body_too_large");
    assert.ok(seen.every(({ init }) => init.signal?.aborted));
  });
}

Deno.test("a body that stays shorter than its content-length is cut off by the time-out", async () => {
  const { stream, cancelled } = byHand();
  const headers = { "content-length": "5", "idempotency-key": "k" };
  const limits = { maxBodyBytes: 1000, headerTimeoutSeconds: 0.05 };
  const response = await soon(
    (await testGateway({ limits }))(requestTo("/runs", { headers, body: stream })),
  );
  assert.equal(response.status, 503);
  await soon(cancelled);
});

Deno.test("a refused caller's body is not read", async () => {
  const { stream } = byHand();
  const headers = { authorization: "Bearer x" };
  const response = await soon((await testGateway())(requestTo("/runs", { headers, body: stream })));
  assert.equal(response.status, 401);
});
