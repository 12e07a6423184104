export type Routes = Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>;

/** Everything a caller may reach: function, path, methods. One entry makes a function public. */
export const routes: Routes = {
  agent: {
    "/runs": ["POST"],
    "/runs/{id}": ["GET"],
    "/runs/{id}/events": ["GET"],
    "/runs/{id}/cancel": ["POST"],
    "/connect": ["POST"],
  },
};
