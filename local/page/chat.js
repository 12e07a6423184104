// @ts-check
/** The chat: one thread, its messages as they are written, and the user's actions. */
import { agentOf } from "/client/agent.js";
import { Conversation } from "/client/messages.js";
import { byId, errorText } from "./dom.js";
import { welcome } from "./welcome.js";
import { Questions } from "./questions.js";
import { Announcer } from "./announcer.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("/client/agent.js").Received} Received */
/** @typedef {{ onThread: (threadId: string) => void, onChange: () => void }} Events */
/**
 * `isVisit`: the user opened the thread and sent nothing.
 * @typedef {{ isVisit?: boolean, onStart?: () => void, onRefused?: () => void }} Callbacks
 */

const TITLE_LENGTH = 60;

export class Chat {
  #form = byId("composer", HTMLFormElement);
  #message = byId("message", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);
  #announcer = new Announcer(byId("said", HTMLElement));
  #conversation = new Conversation();
  #threadId = "";
  /** Whether the next message starts a new thread. */
  #isNew = true;
  #runId = "";
  /** Aborts the shown stream; the run continues. */
  #abort = new AbortController();

  /**
   * @param {Session} session
   * @param {Events} events
   */
  constructor(session, events) {
    this.session = session;
    this.events = events;
    this.transcript = new Transcript(
      byId("log", HTMLElement),
      (id, content) => this.#sendMessage(id, content),
    );
    this.questions = new Questions((resume) =>
      this.#run(
        { resume },
        { onRefused: () => this.questions.reset() },
        agentOf(this.#conversation.interrupts),
      )
    );
    welcome().then((paragraphs) => {
      this.transcript.welcome(paragraphs);
      this.#show();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#message.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#stop.addEventListener("click", () => this.#cancel());
  }

  /** @param {Session} session */
  setSession(session) {
    this.session = session;
    this.#message.value = "";
    this.#leave("");
  }

  /**
   * Show a thread and its new events; "" shows an empty new thread.
   * @param {string} threadId
   */
  open(threadId) {
    if (threadId === this.#threadId) return;
    this.#leave(threadId);
    if (!threadId) return;
    this.#read(this.session.backend.connectThread(threadId, this.#abort), { isVisit: true });
  }

  /** @param {string} threadId */
  #leave(threadId) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#conversation = new Conversation();
    this.#threadId = threadId;
    this.#isNew = !threadId;
    this.#runId = "";
    this.#announcer.clear();
    this.transcript.clear();
    this.#show();
  }

  #submit() {
    const content = this.#message.value.trim();
    if (!content || this.#runId) return;
    this.#message.value = "";
    this.#sendMessage(crypto.randomUUID(), content);
  }

  /**
   * Send a message: a new one, or one that replaces a message and all after it.
   * @param {string} id
   * @param {string} content
   */
  #sendMessage(id, content) {
    const before = this.#conversation;
    const { messages } = before;
    const at = messages.findIndex((message) => message.id === id);
    const message = { id, role: "user", content };
    this.#conversation = new Conversation([
      ...(at < 0 ? messages : messages.slice(0, at)),
      message,
    ]);
    const isFirst = this.#isNew || (at === 0 && messages[0].content !== content);
    const threadId = this.#threadId || crypto.randomUUID();
    const isUnknown = threadId !== this.#threadId;
    this.#threadId = threadId;
    this.#run({ messages: [message] }, {
      onStart: () => {
        this.#isNew = false;
        if (isFirst) this.#name(threadId, content);
      },
      onRefused: () => {
        // The backend stored nothing: restore the conversation, and put the text back into the field.
        this.#conversation = before;
        if (at < 0) this.#message.value ||= content;
      },
    });
    if (isUnknown) this.events.onThread(threadId);
  }

  /**
   * @param {{ messages?: object[], resume?: import("/client/agent.js").Answer[] }} input
   * @param {Callbacks} callbacks
   * @param {string} [agent] the one that raised the interrupts; the chosen one for a message
   */
  #run(input, callbacks, agent) {
    const runId = crypto.randomUUID();
    this.#runId = runId;
    const run = { ...input, threadId: this.#threadId, runId };
    this.transcript.follow();
    this.#read(this.session.backend.run(run, { signal: this.#abort.signal, agent }), callbacks);
  }

  /**
   * @param {AsyncIterable<Received>} stream
   * @param {Callbacks} callbacks
   */
  async #read(stream, { isVisit, onStart, onRefused }) {
    const { signal } = this.#abort;
    let hasStarted = false;
    this.#show();
    try {
      for await (const received of stream) {
        if (received.event.type === "RUN_STARTED") this.#runId = received.event.runId;
        this.#conversation.apply(received);
        this.#announcer.read(received.event);
        this.#show();
        if (!hasStarted) onStart?.();
        hasStarted = true;
      }
    } catch (error) {
      if (signal.aborted) return;
      // The user sent nothing: a thread without runs is just empty.
      const isEmpty = isVisit && Object(error).code === "run_not_found";
      if (!isEmpty) this.transcript.problem(errorText(error));
      if (!hasStarted) onRefused?.();
    }
    if (signal.aborted) return;
    this.#runId = "";
    this.#show();
    this.events.onChange();
  }

  async #cancel() {
    if (this.#stop.ariaDisabled === "true") return;
    // Not `disabled`: the button would lose the focus.
    this.#stop.ariaDisabled = "true";
    try {
      await this.session.backend.cancel(this.#runId);
    } catch (error) {
      this.#stop.ariaDisabled = "false";
      this.transcript.problem(errorText(error));
    }
  }

  /**
   * Title a thread with its first message.
   * @param {string} threadId
   * @param {string} content
   */
  async #name(threadId, content) {
    const title = content.replace(/\s+/g, " ").slice(0, TITLE_LENGTH);
    const path = `/threads/threads/${encodeURIComponent(threadId)}`;
    try {
      await this.session.backend.json(path, { method: "PATCH", body: { title } });
    } catch {
      // The list then shows the thread's id.
    }
    this.events.onChange();
  }

  #show() {
    const isBusy = this.#runId !== "";
    const { activeElement } = document;
    const hasFocus = activeElement === this.#send || activeElement === this.#stop;
    this.#send.hidden = isBusy;
    this.#stop.hidden = !isBusy;
    if (!isBusy) this.#stop.ariaDisabled = "false";
    // The visible button takes over the focus of the hidden one.
    if (hasFocus) (isBusy ? this.#stop : this.#send).focus();
    const hasQuestion = this.#conversation.interrupts.length > 0;
    this.#message.placeholder = hasQuestion ? "Answer the question above first" : "Write a message";
    this.transcript.show(this.#conversation, isBusy, this.questions.cards(this.#conversation));
  }
}
