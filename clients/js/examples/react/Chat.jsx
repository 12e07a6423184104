// A chat with an agent: streamed text, tool calls, approvals, questions, stop, and a run that continues after a reload.
import { ResumableHttpAgent } from "agent-functions-client/resumable";
import { useEffect, useReducer, useRef, useState } from "react";
import { Questions } from "./Questions.jsx";

/** The agent of a thread. The component that uses it renders again whenever the thread changes. */
const useAgent = (options) => {
  const [agent] = useState(() => new ResumableHttpAgent(options));
  const [, render] = useReducer((count) => count + 1, 0);
  const [error, setError] = useState(null);
  const runId = useRef(null);

  useEffect(() => {
    const { unsubscribe } = agent.subscribe({
      onRunInitialized: render,
      onRunStartedEvent: ({ event }) => void (runId.current = event.runId),
      onMessagesChanged: render,
      onRunErrorEvent: ({ event }) => setError(event.message),
      onRunFinalized: render,
    });
    // After a reload, a run may still be in progress, or wait for an approval. A new thread has none.
    agent.connectAgent().catch(({ code }) => code === "run_not_found" || setError(code));
    return () => {
      unsubscribe();
      agent.abortRun();
    };
  }, [agent]);

  const run = (parameters) => {
    setError(null);
    agent.runAgent(parameters).catch((failure) => setError(failure.code ?? failure.message));
  };
  return { agent, error, run, stop: () => agent.cancelRun(runId.current) };
};

/** `agent`: the name of the agent; by default `assistant`. The other options are those of `ResumableHttpAgent`. */
export const Chat = (options) => {
  const { agent, error, run, stop } = useAgent(options);
  const send = (event) => {
    event.preventDefault();
    const content = new FormData(event.target).get("message");
    event.target.reset();
    agent.addMessage({ id: crypto.randomUUID(), role: "user", content });
    run();
  };
  return (
    <>
      <div role="log">
        {agent.messages.map((message) => <Message key={message.id} {...message} />)}
      </div>
      {error && <p role="alert">{error}</p>}
      {agent.isRunning
        ? <button type="button" onClick={stop}>Stop</button>
        : <Questions interrupts={agent.pendingInterrupts} onAnswers={(resume) => run({ resume })} />}
      <form onSubmit={send}>
        <input name="message" aria-label="Message" autoComplete="off" required />
        <button type="submit" disabled={agent.isRunning || agent.pendingInterrupts.length > 0}>
          Send
        </button>
      </form>
    </>
  );
};

const NAMES = { user: "You", assistant: "Agent", tool: "Result" };

const Message = ({ role, content, toolCalls = [] }) => (
  <article aria-label={NAMES[role] ?? role}>
    {typeof content === "string" ? content : ""}
    {toolCalls.map(({ id, function: { name, arguments: given } }) => (
      <code key={id}>{name} {given}</code>
    ))}
  </article>
);
