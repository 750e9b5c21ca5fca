// Lets the client of the pages hear that its channel was deleted: what it was given is read to the end, and the name may be
// followed again.
import { createClient } from "../../../web/files/sdk.js";

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
    if (frame.connect) {
      this.say({ connected: { connection: "c", client: "x", subscriptions: [{ subscribed: { address: "channels/gone" } }] } });
      this.say({ message: { id: "1", to: "channels/gone", data: "last" } });
      this.say({ unsubscribed: { address: "channels/gone" } });
    }
    if (frame.subscribe) {
      this.say({ id: frame.id, subscribed: { address: "channels/gone" } });
      this.say({ message: { id: "2", to: "channels/gone", data: "again" } });
    }
  }
  close() {}
}

const client = createClient("http://localhost", { token: "t", webSocket: Server });
const got = [];
for await (const m of client.subscribe("gone")) got.push(m.data);
for await (const m of client.subscribe("gone")) {
  got.push(m.data);
  break;
}
client.close();
if (got.join() !== "last,again" || !sent.some((f) => f.subscribe)) throw new Error(`got ${got}, sent ${JSON.stringify(sent)}`);
console.log("DONE");
