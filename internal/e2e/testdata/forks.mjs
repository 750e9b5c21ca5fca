// Lets the client of the pages cross a failover: what was published again is handed on once, and the next connect says where
// the client's own addresses stood.
import { createClient } from "../../../web/files/sdk.js";

const connects = [];
const message = (id, to, epoch, offset, data) => ({ message: { id, to, data, position: { epoch, offset } } });
const first = "018f4e6e-7b7a-7aaa-8bbb-cccccccccccc";
const again = "018f4e6e-9c00-7aaa-8bbb-cccccccccccc"; // the same publish, some seconds later
const later = "018f5000-0000-7aaa-8bbb-cccccccccccc"; // its key, used anew after its window
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
    if (!frame.connect) return;
    connects.push(frame.connect);
    const own = [{ address: "users/ada", position: { epoch: "i", offset: "4" } }];
    this.say({ connected: { connection: "c", client: "x", own, subscriptions: [{ subscribed: { address: "channels/news" } }] } });
    if (connects.length > 1) {
      this.say({ gap: { address: "users/ada", from: { epoch: "i", offset: "5" }, reason: "epoch_changed" } });
      this.say(message("2", "channels/news", "b", "6", "end"));
      return;
    }
    this.say(message("9", "users/ada", "i", "5", "mail"));
    this.say(message(first, "channels/news", "a", "3", "once"));
    this.say({ gap: { address: "channels/news", from: { epoch: "a", offset: "3" }, to: { epoch: "b", offset: "2" }, reason: "store_reset" } });
    this.say(message(again, "channels/news", "b", "3", "once"));
    this.say(message("1", "channels/news", "b", "4", "two"));
    this.say(message(later, "channels/news", "b", "5", "once"));
    queueMicrotask(() => this.onclose({ code: 4503 }));
  }
  close() {}
}

const gaps = [];
const client = createClient("http://localhost", { token: "t", webSocket: Server, onGap: (g) => gaps.push(g.address) });
const got = [];
for await (const m of client.subscribe("news")) {
  got.push(m.data);
  if (m.data === "end") break;
}
client.close();
const own = JSON.stringify(connects[1]?.own);
if (got.join() !== "once,two,once,end" || own !== '[{"address":"users/ada","position":{"epoch":"i","offset":"5"}}]' || gaps.join() !== "users/ada") {
  throw new Error(`got ${got}, gave back ${own}, gaps ${gaps}`);
}
console.log("DONE");
