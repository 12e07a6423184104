import { connect } from "agent-functions-client";
import { Conversation } from "agent-functions-client/messages";

const [url, token, content] = process.argv.slice(2);
const conversation = new Conversation();
const message = { id: "m1", role: "user", content };
const agent = connect({ url, token: () => token });
for await (const received of agent.run({ threadId: "of-the-package", messages: [message] })) {
  conversation.apply(received);
}
console.log(JSON.stringify(conversation.messages.map(({ content }) => content)));
