// @ts-check
/** The user who is signed in on this page, and their client of the backend. */
import { connect } from "/client/agent.js";

export const GATEWAY = "/functions/v1/auth-gateway";
const USER_KEY = "user";
const AGENT_KEY = "agent";

/**
 * Send a request to this page's own server, which accepts requests of this page only.
 * @param {string} path
 * @param {"GET" | "POST"} [method]
 */
export const local = async (path, method = "GET") => {
  const response = await fetch(`/local${path}`, { method, headers: { "x-playground": "1" } });
  if (!response.ok) throw new Error(await response.text());
  return await response.json();
};

/** The names of the agents. @returns {Promise<string[]>} */
export const listAgents = async () => (await local("/agents")).agents;

/** One user's session with the agent that they chose. */
export class Session {
  #token = "";
  #expiresAt = 0;

  /**
   * @param {string} user
   * @param {string} agent
   * @param {(state: import("/client/agent.js").Connection) => void} onConnection
   */
  constructor(user, agent, onConnection) {
    this.user = user;
    this.backend = connect({
      url: location.origin + GATEWAY,
      agent,
      token: () => this.token(),
      onConnection,
    });
  }

  /** The user's access token, renewed a minute before it expires. */
  async token() {
    if (Date.now() / 1000 > this.#expiresAt - 60) {
      const { token, expiresAt } = await local(`/token/${this.user}`, "POST");
      [this.#token, this.#expiresAt] = [token, expiresAt];
    }
    return this.#token;
  }
}

export const storedUser = () => sessionStorage.getItem(USER_KEY) ?? "alice";

/** @param {string} user */
export const storeUser = (user) => sessionStorage.setItem(USER_KEY, user);

export const storedAgent = () => sessionStorage.getItem(AGENT_KEY) ?? "";

/** @param {string} agent */
export const storeAgent = (agent) => sessionStorage.setItem(AGENT_KEY, agent);
