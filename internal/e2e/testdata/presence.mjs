// Subscribes with presence in the client of the pages, over a connection that the script plays the server of.
import { createClient } from "../../../web/files/sdk.js";

const sockets = [];
class Played {
  readyState = 1;
  sent = [];
  constructor() {
    sockets.push(this);
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    this.sent.push(JSON.parse(text));
    this.wake?.();
  }
  close() {}
  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  // The next command that the client sends.
  async next() {
    while (!this.sent.length) await new Promise((resolve) => (this.wake = resolve));
    return this.sent.shift();
  }
}
const is = (what, got, want) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: ${g}, want ${w}`);
};

const client = createClient("http://localhost", { token: "t", webSocket: Played });
const told = [];
const joined = (who) => ({ presenceEvent: { address: "channels/lobby", changes: [{ kind: "KIND_JOINED", member: { client: who } }], clients: 1 } });
const position = { epoch: "e" };
const plain = client.subscribe("lobby");
const connected = new Promise((resolve) => client.onState((s) => s.status === "connected" && resolve()));
while (!sockets.length) await Promise.resolve();
let ws = sockets[0];
is("the first subscription", (await ws.next()).connect.subscriptions, [{ address: "channels/lobby" }]);
ws.say({ connected: { subscriptions: [{ subscribed: { address: "channels/lobby", position } }] } });
await connected;

// A second one wants to be told who comes and goes.
const watching = client.subscribe("lobby", { onPresence: (e) => told.push(e.changes[0].member.client) });
let command = await ws.next();
is("it leaves", command.unsubscribe, { address: "channels/lobby" });
ws.say({ id: command.id, unsubscribed: { address: "channels/lobby" } });
command = await ws.next();
is("and comes back", command.subscribe, { address: "channels/lobby", after: position, presence: true });
ws.say({ id: command.id, subscribed: { address: "channels/lobby", position, recovered: true } });
ws.say(joined("ada"));
is("who came", told, ["ada"]);

// After a reconnect the token does not grant it any more: the messages go on.
const again = new Promise((resolve) => client.onState((s) => s.status === "connected" && resolve()));
ws.onclose({ code: 1006 });
while (sockets.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
ws = sockets[1];
is("it asks again", (await ws.next()).connect.subscriptions, [{ address: "channels/lobby", after: position, presence: true }]);
ws.say({ connected: { subscriptions: [{ error: { reason: "CHANNEL_PRESENCE_DENIED", message: "m" } }] } });
await again;
command = await ws.next();
is("and goes without", command.subscribe, { address: "channels/lobby", after: position });
ws.say({ id: command.id, subscribed: { address: "channels/lobby", position, recovered: true } });
ws.say({ message: { to: "channels/lobby", data: "hello", position: { epoch: "e", offset: "1" } } });
for (const s of [plain, watching]) is("a message", (await s.next()).value.data, "hello");
client.close();
console.log("DONE");
