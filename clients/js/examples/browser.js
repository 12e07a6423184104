// A complete page: it sends a question, shows the answer as it is written, and continues after a reload.
// With supabase-js, `token` is: async () => (await supabase.auth.getSession()).data.session.access_token
import { connect } from "../agent.js";
import { Conversation } from "../messages.js";

// Here both are values that you store in the browser's console: docs/client.md, *A page*.
const { url, token } = JSON.parse(localStorage.getItem("backend") ?? "{}");
const agent = connect({ url, token: () => token });
const threadId = (sessionStorage.threadId ??= crypto.randomUUID());
const output = document.querySelector("pre");

const show = async (events) => {
  const conversation = new Conversation();
  for await (const received of events) {
    conversation.apply(received);
    output.textContent = conversation.messages.map(({ role, content }) => `${role}: ${content}`)
      .join("\n");
  }
};

const report = ({ code, message }) => code === "run_not_found" || alert(code ?? message);

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = new FormData(event.target).get("question");
  show(agent.run({ threadId, messages: [{ id: crypto.randomUUID(), role: "user", content }] }))
    .catch(report);
});

// After a reload a run may still be in progress; a new thread has none.
show(agent.connectThread(threadId)).catch(report);
