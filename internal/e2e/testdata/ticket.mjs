// Lets the client of the pages hold resume tickets, over connections that the script plays the server of.
import { createClient } from "../../../web/files/sdk.js";

const sockets = [];
class Played {
  readyState = 1;
  constructor() {
    sockets.push(this);
    this.connect = new Promise((resolve) => (this.said = resolve));
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    const frame = JSON.parse(text);
    if (frame.connect) this.said(frame.connect);
  }
  close() {}
  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
}
const is = (what, got, want) => {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: ${g}, want ${w}`);
};
let at = 0;
// How the next connection connects.
const next = async () => {
  while (sockets.length <= at) await new Promise((resolve) => setTimeout(resolve, 5));
  const { token, ticket } = await sockets[at++].connect;
  return { token, ticket };
};
const ws = () => sockets[at - 1];
const soon = (ms) => new Date(Date.now() + ms).toISOString();

let asked = 0;
const client = createClient("http://localhost", { token: () => `token ${++asked}`, webSocket: Played });
client.connect();
is("at first", await next(), { token: "token 1" });
ws().say({ connected: { ticket: "one", ticketExpireTime: soon(60000) } });
ws().say({ ticket: { ticket: "two", expireTime: soon(60000) } });
ws().onclose({ code: 1006 });
is("the newest", await next(), { ticket: "two" });
ws().say({ error: { reason: "SERVER_DRAINING", message: "m" } });
ws().onclose({ code: 4503 });
is("a refusal that says nothing about it", await next(), { ticket: "two" });
ws().say({ error: { reason: "TICKET_INVALID", message: "m" } });
ws().onclose({ code: 4402 });
is("a refusal of the ticket", await next(), { token: "token 2" });
ws().say({ connected: { ticket: "three", ticketExpireTime: soon(500) } });
ws().onclose({ code: 1006 });
is("one that is about to end", await next(), { token: "token 3" });
ws().say({ connected: { ticket: "four", ticketExpireTime: soon(60000) } });
client.close();
client.connect();
is("after a close", await next(), { token: "token 4" });
ws().say({ connected: {} });
ws().onclose({ code: 1006 });
is("without a ticket", await next(), { token: "token 5" });
client.close();
console.log("DONE");
