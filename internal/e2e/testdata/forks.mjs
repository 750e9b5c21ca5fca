// Lets the client of the pages cross failovers: what was published again is handed on once, nothing of an epoch that is over comes
// late, and each connect says where the subscription and the client's own addresses stood.
import { createClient } from "../../../web/files/sdk.js";

const news = "channels/news";
const at = (epoch, offset) => ({ epoch, offset });
const message = (id, to, position, data) => ({ message: { id, to, data, position } });
const gap = (address, after, to) => ({ gap: { address, after, to, reason: "epoch_changed" } });
const first = "018f4e6e-7b7a-7aaa-8bbb-cccccccccccc";
const again = "018f4e6e-9c00-7aaa-8bbb-cccccccccccc"; // the same publish, some seconds later
const later = "018f5000-0000-7aaa-8bbb-cccccccccccc"; // its key, used anew after its window
const soon = "018f5000-1000-7aaa-8bbb-cccccccccccc"; // and once more, with no failover between

// What the server says of own addresses as it answers a connect, and then sends. It closes each connection then, but for those that end later.
const connections = [
  {
    own: [{ address: "users/ada", position: at("i", "4") }],
    frames: [
      message("9", "users/ada", at("i", "5"), "mail"),
      message(first, news, at("a", "3"), "once"),
      gap(news, at("a", "3"), at("b", "2")),
      message(again, news, at("b", "3"), "once"),
      message("1", news, at("b", "4"), "two"),
      message(later, news, at("b", "5"), "once"),
      message(soon, news, at("b", "6"), "thrice"),
      message("3", news, at("a", "9"), "of a lost end"),
      message("4", news, at("c", "7"), "four"),
      message("5", news, at("b", "8"), "of another lost end"),
    ],
  },
  {
    own: [{ address: "users/ada", position: at("i", "9") }], // which the client has not read
    frames: [gap(news, at("c", "7"), at("b", "6"))],
  },
  {
    frames: [message("6", news, at("b", "7"), "back"), message("8", news, at("c", "8"), "forth"), gap("users/ada", at("i", "5"), at("j", "0"))],
  },
  {
    frames: [gap("users/ada", at("j", "0"))], // nothing is kept there any more
  },
  {
    ends: "with the refresh",
    expireTime: () => new Date(Date.now() + 1250).toISOString(), // it refreshes after a second
    frames: [],
  },
  { ends: "by the page", frames: [message("7", news, at("c", "9"), "end")] },
  { ends: "by the page", frames: [] },
];
const refreshed = { own: [{ address: "groups/g2", position: at("g", "1") }], expireTime: new Date(Date.now() + 3600e3).toISOString() };

const connects = [];
let connected = () => {};
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
    if (frame.refresh) {
      this.say({ id: frame.id, refreshed });
      queueMicrotask(() => this.onclose({ code: 4503 }));
    }
    if (!frame.connect) return;
    const { own, frames, ends, expireTime } = connections[connects.push(frame.connect) - 1];
    this.say({ connected: { connection: "c", client: "x", own, expireTime: expireTime?.(), subscriptions: [{ subscribed: { address: news } }] } });
    frames.forEach((f) => this.say(f));
    if (!ends) queueMicrotask(() => this.onclose({ code: 4503 }));
    connected();
  }
  close() {}
}

const gaps = [];
const client = createClient("http://localhost", { token: async () => "t", webSocket: Server, onGap: (g) => gaps.push(g.address) });
const got = [];
for await (const m of client.subscribe("news")) {
  got.push(m.data);
  if (m.data === "end") break;
}
const stood = (c) => (c.own ?? []).map((o) => `${o.address} ${o.position.epoch}:${o.position.offset}`).join();
const reached = (c) => (({ epoch, offset } = {}) => `${epoch}:${offset}`)(c.subscriptions[0]?.after);
const said = connects.map((c) => `${stood(c)} | ${reached(c)}`);
client.close();
const other = new Promise((resolve) => (connected = resolve)); // perhaps as another user
client.connect();
await other;
said.push(stood(connects.at(-1)));
client.close();

const same = (what, list, want) => {
  if (list.join("\n") !== want.join("\n")) throw new Error(`${what}:\n${list.join("\n")}\nwant:\n${want.join("\n")}`);
};
same("messages", got, ["once", "two", "once", "thrice", "four", "back", "forth", "end"]);
same("gaps", gaps, ["users/ada", "users/ada"]);
same("given back", said, [" | undefined:undefined", "users/ada i:5 | c:7", "users/ada i:5 | b:6", "users/ada j:0 | c:8", " | c:8", "groups/g2 g:1 | c:8", ""]);
console.log("DONE");
