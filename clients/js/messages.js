// @ts-check
/** @typedef {import("./agent.js").Received} Received */
/** @typedef {import("./resume.js").Interrupt} Interrupt */
/** @typedef {{ id: string, type: "function", function: { name: string, arguments: string } }} ToolCall */
/**
 * A message of AG-UI.
 * @typedef {{ id: string, role: string, content?: any, toolCalls?: ToolCall[], toolCallId?: string }} Message
 */

/** A thread, built from a stream's events: its messages, its state, and its open interrupts. */
export class Conversation {
  /** @param {Message[]} [messages] the messages before the run */
  constructor(messages = []) {
    /** @type {Message[]} */
    this.messages = structuredClone(messages);
    /** @type {any} */
    this.state = undefined;
    /** Ids of the messages and calls that are still being written. @type {Set<string>} */
    this.open = new Set();
    /** @type {Interrupt[]} */
    this.interrupts = [];
    /** The last event of the latest run, once it has ended. @type {Received["event"] | undefined} */
    this.ending = undefined;
  }

  /**
   * Apply the next event.
   * @param {Received} received
   */
  apply({ event }) {
    handlers[event.type]?.(this, event);
  }

  /**
   * @param {string} id
   * @returns {Message | undefined}
   */
  message(id) {
    return this.messages.findLast((message) => message.id === id);
  }

  /**
   * @param {string} id
   * @returns {ToolCall | undefined}
   */
  call(id) {
    return this.messages.flatMap(({ toolCalls }) => toolCalls ?? []).findLast((call) =>
      call.id === id
    );
  }
}

/** @typedef {(to: Conversation, event: Received["event"]) => void} Handler */

/** @param {string} role @returns {Handler} */
const start = (role) => (to, { messageId }) => {
  to.open.add(messageId);
  if (!to.message(messageId)) to.messages.push({ id: messageId, role, content: "" });
};

/** @type {Handler} */
const content = (to, { messageId, delta }) => {
  const message = to.message(messageId);
  if (message) message.content = (message.content ?? "") + delta;
};

/** @type {Handler} */
const end = (to, { messageId, toolCallId }) => void to.open.delete(messageId ?? toolCallId);

/** @type {Handler} */
const startCall = (to, { toolCallId, toolCallName, parentMessageId }) => {
  to.open.add(toolCallId);
  if (to.call(toolCallId)) return;
  const function_ = { name: toolCallName, arguments: "" };
  /** @type {ToolCall} */
  const call = { id: toolCallId, type: "function", function: function_ };
  const parent = to.message(parentMessageId);
  if (parent?.role === "assistant") parent.toolCalls = [...(parent.toolCalls ?? []), call];
  else {to.messages.push({
      id: parentMessageId ?? toolCallId,
      role: "assistant",
      toolCalls: [call],
    });}
};

/** @type {Handler} */
const finish = (to, event) => {
  to.open.clear();
  to.ending = event;
  to.interrupts = event.outcome?.interrupts ?? [];
};

/** @type {Record<string, Handler>} */
const handlers = {
  RUN_STARTED: (to) => {
    to.open.clear();
    to.interrupts = [];
    to.ending = undefined;
  },
  RUN_FINISHED: finish,
  RUN_ERROR: finish,
  TEXT_MESSAGE_START: start("assistant"),
  TEXT_MESSAGE_CONTENT: content,
  TEXT_MESSAGE_END: end,
  REASONING_MESSAGE_START: start("reasoning"),
  REASONING_MESSAGE_CONTENT: content,
  REASONING_MESSAGE_END: end,
  TOOL_CALL_START: startCall,
  TOOL_CALL_ARGS: (to, { toolCallId, delta }) => {
    const call = to.call(toolCallId);
    if (call) call.function.arguments += delta;
  },
  TOOL_CALL_END: end,
  TOOL_CALL_RESULT: (to, { messageId, toolCallId, content }) =>
    void to.messages.push({ id: messageId, role: "tool", toolCallId, content }),
  MESSAGES_SNAPSHOT: (to, { messages }) => {
    to.messages = structuredClone(messages);
  },
  STATE_SNAPSHOT: (to, { snapshot }) => {
    to.state = snapshot;
  },
};
