// Lets the client of the pages follow an address as its application spells it: messages say it in one form.
import { address, createClient } from "../../../web/files/sdk.js";

for (const [text, want] of Object.entries({
  demo: "channels/demo",
  broadcast: "broadcast",
  "channels/a:b": "channels/a:b",
  "users/ada": "users/ada",
  "users/auth0|5f": "users/auth0%7C5f",
  "users/auth0%7c5f": "users/auth0%7C5f",
  "users/%61da/topics/x": "users/ada/topics/x",
  "groups/a b:@=+-_.c": "groups/a%20b:@=+-_.c",
  "clients/a%2fb!~'()%2a": "clients/a%2Fb%21%7E%27%28%29%2A",
  "sessions/é😀/topics/t": "sessions/%C3%A9%F0%9F%98%80/topics/t",
  "users/100%25": "users/100%25",
  "users/100%": "users/100%", // refused by the server
}))
  if (address(text) !== want) throw new Error(`${text} is ${address(text)}, want ${want}`);

const sent = [];
class Server {
  readyState = 1;
  constructor() {
    queueMicrotask(() => this.onopen());
  }
  say(frame) {
    queueMicrotask(() => this.onmessage({ data: JSON.stringify(frame) }));
  }
  send(text) {
    const frame = JSON.parse(text);
    sent.push(frame);
    if (!frame.connect) return;
    const to = "users/auth0%7C5f";
    this.say({ connected: { connection: "c", client: "x", user: "auth0%7C5f", subscriptions: [{ subscribed: { address: to } }] } });
    this.say({ message: { id: "1", to, data: "mine" } });
  }
  close() {}
}

const client = createClient("http://localhost", { token: "t", webSocket: Server });
const other = client.subscribe("users/auth0%7c5f");
for await (const m of client.subscribe("users/auth0|5f")) {
  if (m.data !== "mine") throw new Error(`got ${m.data}`);
  break;
}
if ((await other.next()).value.data !== "mine") throw new Error("the other spelling got nothing");
client.close();
if (sent[0].connect.subscriptions.length !== 1) throw new Error(`two spellings are two subscriptions: ${JSON.stringify(sent)}`);
console.log("DONE");
