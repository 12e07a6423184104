import { functions } from "./functions.ts";

type Paths = Readonly<Record<string, readonly string[]>>;
type PathsByKind = Readonly<Record<typeof functions[number]["kind"], Paths>>;
export type Routes = Readonly<Record<string, Paths>>;

/** The paths of the functions of each kind, with their methods. */
const PATHS = {
  agent: {
    "/runs": ["POST"],
    "/runs/{id}": ["GET"],
    "/runs/{id}/events": ["GET"],
    "/runs/{id}/cancel": ["POST"],
    "/connect": ["POST"],
    "/openapi.json": ["GET"],
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

const routesOf = (paths: PathsByKind): Routes =>
  Object.fromEntries(functions.map(({ name, kind }) => [name, paths[kind]]));

/** All public routes: function, path, methods. A function with an entry is public. */
export const routes: Routes = routesOf(PATHS);

/** The same, and each agent's route for a schedule. Only if a secret is set do they exist. */
export const routesWithSweep: Routes = routesOf({
  ...PATHS,
  agent: { ...PATHS.agent, "/sweep": ["POST"] },
});
