// A page of another origin that follows a channel by EventSource.
import { browser, open } from "./browser.mjs";

const [, , origin, server, token] = process.argv;
const b = await browser();
const page = await open(b, origin);
await page.exposeFunction("say", (line) => console.log(line));
const failed = await page.evaluate(
  async ([server, token]) => {
    const stream = `${server}/v1/channels/orders:eu/stream`;
    const authorization = `Bearer ${token}`;
    // What libraries add to a fetch asks for a preflight, which is allowed.
    const headers = { authorization, "cache-control": "no-cache", "x-requested-with": "XMLHttpRequest", "content-type": "application/json" };
    const answer = await fetch(`${stream}:ticket`, { method: "POST", headers, body: "{}" });
    const { ticket } = await answer.json();
    if (!answer.ok || !ticket) return `no ticket: ${answer.status}`;
    const got = [];
    const source = new EventSource(`${stream}?ticket=${ticket}&_=${Date.now()}`);
    await new Promise((resolve) => source.addEventListener("subscribed", resolve, { once: true }));
    source.addEventListener("subscribed", () => say("LOG came back"));
    source.addEventListener("message", (e) => got.push(JSON.parse(e.data).data));
    const until = async (n) => {
      while (got.length < n) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await say("OPEN");
    await until(1);
    await say("CUT");
    await until(2);
    source.close();
    if (got.join() !== "1,2") return `got ${got}`;
    // The ticket was used: another source ends for good, and the page sees that it does.
    const again = new EventSource(`${stream}?ticket=${ticket}`);
    await new Promise((resolve) => (again.onerror = resolve));
    if (again.readyState !== EventSource.CLOSED) return `the used ticket leaves it at ${again.readyState}`;
    const refused = await (await fetch(`${stream}?ticket=${ticket}`)).json();
    if (!JSON.stringify(refused).includes("TICKET_INVALID")) return `refused with ${JSON.stringify(refused)}`;
    const socket = new WebSocket(`${server.replace("http", "ws")}/v1/ws?token=x`);
    const { code } = await new Promise((resolve) => (socket.onclose = resolve));
    return code === 4401 ? "" : `the refused token closes with ${code}`;
  },
  [server, token],
);
await b.close();
if (failed) throw new Error(failed);
console.log("DONE");
