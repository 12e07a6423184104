import { approve, connect, Problem } from "agent-functions-client";
import { Conversation } from "agent-functions-client/messages";
import { ResumableHttpAgent } from "agent-functions-client/resumable";

const options = { url: "http://127.0.0.1", token: () => "token" };
const agent = connect({ ...options, agent: "support", retries: 2 });
const conversation = new Conversation();

export async function ask(content: string): Promise<string> {
  const message = { id: "m1", role: "user", content };
  try {
    for await (const received of agent.run({ threadId: "t1", messages: [message] })) {
      conversation.apply(received);
    }
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
  const answers = conversation.interrupts.map((interrupt) => approve(interrupt));
  return answers[0]?.interruptId ?? conversation.messages[0]!.id;
}

export const resumable = new ResumableHttpAgent({ gateway: options.url, token: options.token });

// @ts-expect-error: a client needs the address.
connect({ token: () => "token" });
// @ts-expect-error: a run needs a thread.
agent.run({ messages: [] });
