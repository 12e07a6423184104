import { methodNotAllowed, notFound } from "./problems.ts";
import type { Routes } from "./routes.ts";

export type Destination = {
  function: string;
  /** The route's template, which is safe to log. */
  route: string;
  /** Percent-encoded as received, without the query. */
  path: string;
  query: string;
};

// Match Request.url as text: the URL parser resolves `..` and `%2e`, so they could not be refused
// after it.
const URL_PARTS = /^[a-z]+:\/\/[^/?#]*([^?#]*)(\?[^#]*)?/i;
const ADDRESS =
  /^(?:(?:\/[\w~-][\w.~-]*)*\/functions\/v1)?\/auth-gateway\/([a-z][a-z0-9-]*)(\/.*)$/;
// Only characters that a URL parser does not change, so that the signed path is the sent path.
const SEGMENT = /^(?:[\w.~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+$/;
// deno-lint-ignore no-control-regex -- these characters must be refused
const UNSAFE = /[/\\\u0000-\u001f\u007f-\u009f]/;
const MAX_ID = 384;

/** Find the destination of a request. Throws a Refusal with 404 or 405. */
export const destination = (routes: Routes, request: Request): Destination => {
  const [, raw = "", query = ""] = URL_PARTS.exec(request.url) ?? [];
  const [, name = "", path = ""] = ADDRESS.exec(raw) ?? [];
  const paths = Object.hasOwn(routes, name) ? routes[name] ?? {} : {};
  const route = Object.keys(paths).find((template) => matches(template, path));
  if (route === undefined) throw notFound();
  const methods = paths[route] ?? [];
  if (!methods.includes(request.method)) throw methodNotAllowed(methods);
  return { function: name, route, path, query };
};

const matches = (template: string, path: string): boolean => {
  const expected = template.split("/");
  const actual = path.split("/");
  return expected.length === actual.length &&
    expected.every((part, at) => part === "{id}" ? isId(actual[at] ?? "") : part === actual[at]);
};

const isId = (segment: string): boolean => {
  if (segment.length > MAX_ID || !SEGMENT.test(segment)) return false;
  const id = decoded(segment);
  return id !== undefined && id !== "." && id !== ".." && !UNSAFE.test(id);
};

const decoded = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
};
