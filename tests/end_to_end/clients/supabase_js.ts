// supabase-js as an app uses it: functions.invoke, with the user's token.
import { createClient } from "npm:@supabase/supabase-js@2.119.0";

const [project, token] = Deno.args;
const supabase = createClient(project, "sb_publishable_local", {
  accessToken: () => Promise.resolve(token),
});
const { data, error } = await supabase.functions.invoke("auth-gateway/assistant/runs", {
  headers: { Accept: "text/event-stream" },
  body: {
    threadId: crypto.randomUUID(),
    runId: crypto.randomUUID(),
    messages: [{ id: "1", role: "user", content: "say: from|supabase" }],
  },
});
if (error) throw error;
console.log(await data.text());
