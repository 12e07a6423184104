// @ts-check
/** The chat: one thread, its messages as they are written, and what a person can do about them. */
import { Conversation } from "/client/messages.js";
import { byId, told } from "./dom.js";
import { Questions } from "./questions.js";
import { Said } from "./said.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("./session.js").Session} Session */
/** @typedef {import("/client/agent.js").Received} Received */
/** @typedef {{ onThread: (threadId: string) => void, onChange: () => void }} Events */

const TITLE_LENGTH = 60;

export class Chat {
  #form = byId("composer", HTMLFormElement);
  #message = byId("message", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);
  #said = new Said(byId("said", HTMLElement));
  #conversation = new Conversation();
  #threadId = "";
  #runId = "";
  /** Ends the reading of what is shown; the run goes on. */
  #left = new AbortController();

  /**
   * @param {Session} session
   * @param {Events} events
   */
  constructor(session, events) {
    this.session = session;
    this.events = events;
    this.transcript = new Transcript(
      byId("log", HTMLElement),
      (id, content) => this.#ask(id, content),
    );
    this.questions = new Questions((resume) => this.#run({ resume }));
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
  become(session) {
    this.session = session;
    this.#leave("");
  }

  /**
   * Show a thread as it stands, and go on with what comes; none is a new one.
   * @param {string} threadId
   */
  open(threadId) {
    if (threadId === this.#threadId) return;
    this.#leave(threadId);
    if (threadId) this.#read(this.session.backend.connectThread(threadId, this.#left), true);
  }

  /** @param {string} threadId */
  #leave(threadId) {
    this.#left.abort();
    this.#left = new AbortController();
    this.#conversation = new Conversation();
    this.#threadId = threadId;
    this.#runId = "";
    this.transcript.clear();
    this.#show();
  }

  #submit() {
    const content = this.#message.value.trim();
    if (!content || this.#runId) return;
    this.#message.value = "";
    this.#ask(crypto.randomUUID(), content);
  }

  /**
   * Say something: new, or in place of a message and all behind it.
   * @param {string} id
   * @param {string} content
   */
  #ask(id, content) {
    const { messages } = this.#conversation;
    const at = messages.findIndex((message) => message.id === id);
    const said = { id, role: "user", content };
    this.#conversation = new Conversation([...(at < 0 ? messages : messages.slice(0, at)), said]);
    const isNew = !this.#threadId;
    this.#threadId ||= crypto.randomUUID();
    const threadId = this.#threadId;
    this.#run({ messages: [said] }, isNew ? () => this.#name(threadId, content) : undefined);
    if (isNew) this.events.onThread(threadId);
  }

  /**
   * @param {{ messages?: object[], resume?: import("/client/agent.js").Answer[] }} input
   * @param {() => void} [onStart]
   */
  #run(input, onStart) {
    const runId = crypto.randomUUID();
    this.#runId = runId;
    const run = { ...input, threadId: this.#threadId, runId };
    this.transcript.follow();
    this.#read(this.session.backend.run(run, this.#left), false, onStart);
  }

  /**
   * @param {AsyncIterable<Received>} stream
   * @param {boolean} isVisit nothing was asked: a thread without runs is just empty
   * @param {() => void} [onStart]
   */
  async #read(stream, isVisit, onStart) {
    const { signal } = this.#left;
    this.#show();
    try {
      for await (const received of stream) {
        if (received.event.type === "RUN_STARTED") this.#runId = received.event.runId;
        this.#conversation.apply(received);
        this.#said.hear(received.event);
        this.#show();
        if (received.event.type === "RUN_STARTED") onStart?.();
      }
    } catch (error) {
      if (signal.aborted) return;
      const isEmpty = isVisit && Object(error).code === "run_not_found";
      if (!isEmpty) this.transcript.problem(told(error));
    }
    if (signal.aborted) return;
    this.#runId = "";
    this.#show();
    this.events.onChange();
  }

  async #cancel() {
    this.#stop.disabled = true;
    try {
      await this.session.backend.cancel(this.#runId);
    } catch (error) {
      this.transcript.problem(told(error));
    }
  }

  /**
   * A thread is listed by what it began with.
   * @param {string} threadId
   * @param {string} content
   */
  async #name(threadId, content) {
    const title = content.replace(/\s+/g, " ").slice(0, TITLE_LENGTH);
    const path = `/threads/threads/${encodeURIComponent(threadId)}`;
    try {
      await this.session.backend.json(path, { method: "PATCH", body: { title } });
    } catch {
      // It is listed by its id then.
    }
    this.events.onChange();
  }

  #show() {
    const isBusy = this.#runId !== "";
    this.#send.hidden = isBusy;
    this.#stop.hidden = !isBusy;
    if (!isBusy) this.#stop.disabled = false;
    this.transcript.show(this.#conversation, isBusy, this.questions.cards(this.#conversation));
  }
}
