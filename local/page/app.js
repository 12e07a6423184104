// @ts-check
/** The page: the shown view, thread and user. View and thread are in the URL's fragment, so that a reload keeps them. */
import { Chat } from "./chat.js";
import { byId, el } from "./dom.js";
import { FunctionsView } from "./functions.js";
import { RunsView } from "./runs.js";
import { listAgents, Session, storeAgent, storedAgent, storedUser, storeUser } from "./session.js";
import { ThreadList } from "./threads.js";

const userChoice = byId("user", HTMLSelectElement);
const agentChoice = byId("agent", HTMLSelectElement);
const menu = byId("menu", HTMLButtonElement);
const connection = byId("connection", HTMLElement);

/** @param {import("/client/agent.js").Connection} state */
const showConnection = (state) => {
  connection.textContent = state === "reconnecting" ? "Reconnecting…" : "";
};

const signIn = () => {
  storeUser(userChoice.value);
  storeAgent(agentChoice.value);
  showConnection("connected");
  return new Session(userChoice.value, agentChoice.value, showConnection);
};

/** @param {string[]} agents */
const offer = (agents) => {
  agentChoice.replaceChildren(...agents.map((name) => el("option", {}, name)));
  if (agents.includes(storedAgent())) agentChoice.value = storedAgent();
  byId("agents", HTMLElement).hidden = agents.length < 2;
};

const address = () => {
  const [view = "", threadId = "", runId = ""] = location.hash.replace(/^#\//, "").split("/").map(
    decodeURIComponent,
  );
  return { view: ["runs", "functions"].includes(view) ? view : "chat", threadId, runId };
};

/** @param {...string} parts */
const go = (...parts) => {
  location.hash = `/${parts.filter((part) => part).map(encodeURIComponent).join("/")}`;
};

userChoice.value = storedUser();
offer(await listAgents());
let session = signIn();
const threads = new ThreadList(session);
const chat = new Chat(session, {
  onThread: (threadId) => go("chat", threadId),
  onChange: () => threads.refresh(),
});
const runs = new RunsView(session);
const functions = new FunctionsView();

/** @param {boolean} isOpen */
const openMenu = (isOpen) => {
  menu.setAttribute("aria-expanded", String(isOpen));
  document.body.classList.toggle("menu-open", isOpen);
};

let threadId = "";
const show = () => {
  const at = address();
  threadId = at.threadId || (at.view === "chat" ? "" : threadId);
  for (const view of ["chat", "runs", "functions"]) {
    byId(view, HTMLElement).hidden = view !== at.view;
  }
  for (const link of document.querySelectorAll("nav a")) showLink(link, at.view);
  threads.select(threadId);
  functions.watch(at.view === "functions");
  runs.watch(at.view === "runs" ? threadId : "", at.runId);
  if (at.view === "chat") chat.open(threadId);
  openMenu(false);
};

/**
 * @param {Element} link
 * @param {string} view
 */
const showLink = (link, view) => {
  const own = link.getAttribute("data-view") ?? "";
  link.toggleAttribute("aria-current", own === view);
  if (own === view) link.setAttribute("aria-current", "page");
  const path = [own, ...(threadId && own !== "functions" ? [encodeURIComponent(threadId)] : [])];
  link.setAttribute("href", `#/${path.join("/")}`);
};

userChoice.addEventListener("change", () => {
  session = signIn();
  for (const part of [threads, chat, runs]) part.setSession(session);
  threadId = "";
  if (location.hash === "#/chat") show();
  else go("chat");
});
agentChoice.addEventListener("change", () => {
  session = signIn();
  // The thread stays: its next message goes to this agent.
  chat.session = session;
});
menu.addEventListener("click", () => openMenu(menu.getAttribute("aria-expanded") !== "true"));
byId("new", HTMLButtonElement).addEventListener("click", () => {
  go("chat");
  openMenu(false);
  byId("message", HTMLTextAreaElement).focus();
});
// Also if the thread is already shown, which changes no hash.
byId("thread-list", HTMLElement).addEventListener("click", () => openMenu(false));
globalThis.addEventListener("hashchange", show);
show();
threads.refresh();
