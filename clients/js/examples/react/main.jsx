// Signs in with a pasted token, and shows the chat. With supabase-js, replace the form by your app's own sign-in, and
// `token` by: async () => (await supabase.auth.getSession()).data.session.access_token
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./Chat.jsx";

const GATEWAY = "http://127.0.0.1:54321/functions/v1/auth-gateway";
const threadId = (sessionStorage.threadId ??= crypto.randomUUID());

const App = () => {
  const [backend, setBackend] = useState(JSON.parse(sessionStorage.backend ?? "null"));
  const signIn = (event) => {
    event.preventDefault();
    const entered = Object.fromEntries(new FormData(event.target));
    sessionStorage.backend = JSON.stringify(entered);
    setBackend(entered);
  };
  if (backend) {
    return <Chat gateway={backend.gateway} token={() => backend.token} threadId={threadId} />;
  }
  return (
    <form onSubmit={signIn}>
      <input name="gateway" aria-label="Gateway" defaultValue={GATEWAY} required />
      <input name="token" aria-label="Token" type="password" placeholder="Access token" required />
      <button type="submit">Sign in</button>
    </form>
  );
};

createRoot(document.getElementById("app")).render(<App />);
