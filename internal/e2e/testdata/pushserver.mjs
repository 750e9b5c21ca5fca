// The push protocol as its pages and programs use it, in Chromium and in Node. Arguments: host:port of its HTTP and its
// WebSocket. NATIVE asks for a native publish of "natively" to channels/news.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";
import { WebSocket } from "ws";
import { browser, open } from "./browser.mjs";

const [http, ws] = process.argv.slice(2);

async function act(path, action, data) {
  const res = await fetch(`http://${http}${path}`, { method: "POST", body: JSON.stringify({ messageType: "SERVER_ACTION", action, data }) });
  const answer = await res.json();
  if (answer.code !== res.status) throw new Error(`${res.status} ${JSON.stringify(answer)}`);
  return answer;
}
const create = async (channel) => (await act("/channel/create", "CREATE_CHANNEL", { channel })).data.channelToken;
const push = async (channel, channelToken, recipients, message) => {
  const answer = await act("/push", "PUSH_MESSAGE", { channel, channelToken, recipients, message });
  if (answer.message !== "Sent") throw new Error(JSON.stringify(answer));
};
const statistics = async () => (await (await fetch(`http://${http}/sysadmin`)).json()).data;

async function until(what, ok) {
  for (const end = Date.now() + 10_000; !(await ok()); await new Promise((r) => setTimeout(r, 10))) {
    if (Date.now() > end) throw new Error(`it did not come true: ${what}`);
  }
}
const same = (what, got, want) => {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
};

const news = await create("news");
const odd = await create("Ödd channel");

// In Node, our script as it is served.
globalThis.WebSocket = WebSocket;
runInThisContext(await (await fetch(`http://${http}/js/pushserver.js`)).text());
const heard = [];
const status = [];
const node = new PushServer(`ws://${ws}`, (s) => status.push(s));
for (const method of ["subscribe", "unsubscribe", "disconnect"]) {
  let thrown = false;
  try { node[method]("news", () => {}); } catch { thrown = true; }
  if (!thrown) throw new Error(`${method} does not throw before it is connected`);
}
await until("Node is connected", () => node.CONNECTION_STATUS);
node.subscribe("news", (m) => heard.push(m));

const site = createServer((_, res) => {
  res.setHeader("Content-Type", "text/html");
  res.end(readFileSync(new URL("./pushserver.html", import.meta.url)));
});
await new Promise((ok) => site.listen(0, "127.0.0.1", ok));
const chrome = await browser([`MAP localhost:5223 ${http}`, `MAP localhost:5222 ${ws}`]);
try {
  const page = await open(chrome, `http://127.0.0.1:${site.address().port}/`);
  await page.waitForFunction(() => connected(), null, { timeout: 10_000 });
  await page.evaluate(() => { subscribe("news"); subscribe("Ödd channel"); });
  await until("three clients are counted", async () => (await statistics()).clientsAmount === 3);
  // A subscription has no callback of its own: it is there when a message arrives.
  const got = () => page.evaluate(() => got);
  await until("both are subscribed", async () => {
    await push("Ödd channel", odd, [], "ping");
    const all = await got();
    return all.ours.length && all.shipped.length;
  });
  await page.evaluate(() => { got.ours = []; got.shipped = []; });
  await push("news", news, [], "to <b>all</b> ä");
  await push("news", news, [node.UUID], "to Node alone");
  console.log("NATIVE");
  const want = ["news: to <b>all</b> ä", "news: natively"];
  const ofNews = (list) => list.filter((m) => m.startsWith("news"));
  await until("all have both", async () => {
    const all = await got();
    return ofNews(all.ours).length === 2 && ofNews(all.shipped).length === 2 && heard.length === 3;
  });
  const all = await got();
  same("our script in the page", ofNews(all.ours), want);
  same("the shipped client in the page", ofNews(all.shipped), want);
  same("our script in Node", heard, ["to <b>all</b> ä", "to Node alone", "natively"]);
  await page.evaluate(() => { for (const c of Object.values(clients)) c.unsubscribe("news"); });
  await page.evaluate(() => { for (const c of Object.values(clients)) c.disconnect(); });
  await page.waitForFunction(() => Object.values(clients).every((c) => !c.CONNECTION_STATUS), null, { timeout: 10_000 });
  await until("one client is counted", async () => (await statistics()).clientsAmount === 1);
  node.disconnect();
  await until("nobody is counted", async () => (await statistics()).clientsAmount === 0);
  await until("Node hears of the end", () => status.length === 2);
  same("the status of Node", status, [true, false]);
  console.log("DONE");
} finally {
  await chrome.close();
  site.close();
}
