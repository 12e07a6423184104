// @ts-check
/** Who is signed in on this page, and the backend as that user reaches it. */
import { connect } from "/client/agent.js";

export const GATEWAY = "/functions/v1/auth-gateway";
const KEPT = "user";

/**
 * Ask this page's own server, which only answers to this page.
 * @param {string} path
 * @param {"GET" | "POST"} [method]
 */
export const local = async (path, method = "GET") => {
  const response = await fetch(`/local${path}`, { method, headers: { "x-playground": "1" } });
  if (!response.ok) throw new Error(await response.text());
  return await response.json();
};

/** One user's session. */
export class Session {
  #token = "";
  #expiresAt = 0;

  /**
   * @param {string} user
   * @param {(state: import("/client/agent.js").Connection) => void} onConnection
   */
  constructor(user, onConnection) {
    this.user = user;
    this.backend = connect({
      url: location.origin + GATEWAY,
      token: () => this.token(),
      onConnection,
    });
  }

  /** The user's access token, a fresh one a minute before the old one ends. */
  async token() {
    if (Date.now() / 1000 > this.#expiresAt - 60) {
      const { token, expiresAt } = await local(`/token/${this.user}`, "POST");
      [this.#token, this.#expiresAt] = [token, expiresAt];
    }
    return this.#token;
  }
}

export const rememberedUser = () => sessionStorage.getItem(KEPT) ?? "alice";

/** @param {string} user */
export const remember = (user) => sessionStorage.setItem(KEPT, user);
