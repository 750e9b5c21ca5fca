// Clients of the facility protocol in Chromium and in Node. Arguments: host:port of the sockets, and the session keys of john and
// mary. KICK asks for the end of john's session and its return.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";
import { WebSocket } from "ws";
import { browser, open } from "./browser.mjs";

const [at, john, mary] = process.argv.slice(2);
const read = (name) => readFileSync(new URL(name, import.meta.url), "utf8");

async function until(what, ok, within = 20_000) {
  for (const end = Date.now() + within; !(await ok()); await new Promise((r) => setTimeout(r, 20))) {
    if (Date.now() > end) throw new Error(`it did not come true: ${what}`);
  }
}

runInThisContext(read("./facility_client.js"));
const heard = [];
let opened = 0, beats = 0;
const node = new FacilityClient({
  uri: `ws://${at}/ws/foobar?subscribe-broadcast&publish-broadcast&subscribe-user&publish-user`,
  open: (uri) => new WebSocket(uri, { headers: { Cookie: `sessionid=${john}` } }),
  heartbeat_msg: "--heartbeat--",
  connected: () => opened++,
  beaten: () => beats++,
  receive_message: (text) => heard.push(String(text)),
});
await until("Node is connected", () => opened === 1);

const site = createServer((req, res) => {
  const script = req.url === "/facility_client.js";
  res.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  res.end(read(script ? "./facility_client.js" : "./facility.html"));
});
await new Promise((ok) => site.listen(0, "127.0.0.1", ok));
const chrome = await browser([`MAP localhost:8000 ${at}`]);
try {
  const page = await open(chrome, `http://localhost:${site.address().port}/?session=${mary}`);
  const text = () => page.textContent("#billboard");
  await page.waitForFunction(() => document.body.dataset.opened === "1", null, { timeout: 20_000 });
  await page.fill("#text", "from the page, größer als <b>ASCII</b>");
  await page.click("button");
  await until("Node hears the page", () => heard.includes("from the page, größer als <b>ASCII</b>"));
  await until("the page hears itself", async () => (await text()).includes("from the page"));
  node.send_message("from Node");
  await until("the page hears Node", async () => (await text()).includes("from Node"));
  if (heard.includes("from Node")) throw new Error("Node hears itself");

  console.log("KICK");
  await until("Node has come back", () => opened >= 2 && node.get_state() === "connected", 40_000);
  node.send_message("from Node again");
  await until("the page hears Node again", async () => (await text()).includes("from Node again"));

  // Heartbeats of both sides: nobody goes away, and nobody sees one.
  const before = beats;
  const times = opened;
  await until("heartbeats come", () => beats >= before + 4, 25_000);
  if (opened !== times || (await page.getAttribute("body", "data-opened")) !== "1") throw new Error("somebody had to come back");
  if (heard.some((t) => t.includes("heartbeat")) || (await text()).includes("heartbeat")) throw new Error("a heartbeat is shown");
  node.close();
  await until("it stays closed", () => node.get_state() === "closed");
  console.log("DONE");
} finally {
  await chrome.close();
  site.close();
}
