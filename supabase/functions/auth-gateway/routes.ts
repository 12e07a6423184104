export type Routes = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/** All public routes: function, path, methods. A function with an entry is public. */
export const routes: Routes = {
  agent: {
    "/runs": ["POST"],
    "/runs/{id}": ["GET"],
    "/runs/{id}/events": ["GET"],
    "/runs/{id}/cancel": ["POST"],
    "/connect": ["POST"],
  },
  threads: {
    "/threads": ["GET", "POST"],
    "/threads/{id}": ["GET", "PATCH", "DELETE"],
    "/threads/{id}/items": ["GET"],
    "/threads/{id}/runs": ["GET"],
    "/threads/{id}/runs/{id}/log": ["GET"],
    "/threads/{id}/export": ["GET"],
    "/search": ["GET"],
    "/me": ["DELETE"],
    "/me/export": ["GET"],
    "/openapi.json": ["GET"],
  },
};
