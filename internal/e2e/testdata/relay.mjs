// Two pages of the older relay exchange messages by uuid. Arguments: host:port of its HTTP and its WebSocket.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { browser, open } from "./browser.mjs";

const [http, ws] = process.argv.slice(2);
const site = createServer((_, res) => {
  res.setHeader("Content-Type", "text/html");
  res.end(readFileSync(new URL("./relay.html", import.meta.url)));
});
await new Promise((ok) => site.listen(0, "127.0.0.1", ok));
const chrome = await browser([`MAP localhost:5000 ${http}`, `MAP localhost:7071 ${ws}`]);
try {
  const pages = [];
  for (let i = 0; i < 2; i++) {
    const page = await open(chrome, `http://127.0.0.1:${site.address().port}/`);
    await page.waitForFunction(() => document.body.dataset.open === "yes", null, { timeout: 10_000 });
    pages.push({ page, uuid: await page.textContent(".uuid") });
  }
  const [a, b] = pages;
  for (const [from, to, text] of [[a, b, "from a to b"], [b, a, "from b to a"]]) {
    await from.page.fill("#UUID", to.uuid);
    await from.page.fill("#Message", text);
    await from.page.click("button");
    await to.page.waitForFunction((t) => document.querySelector(".message-recive-box").textContent.includes(t), text, { timeout: 10_000 });
  }
  for (const [p, count] of [[a, 1], [b, 1]]) {
    const got = await p.page.$$eval(".message", (all) => all.length);
    if (got !== count) throw new Error(`${got} messages on a page, want ${count}`);
  }
  console.log("UUID " + a.uuid);
  // A message that somebody publishes to the page's address natively, and one by an old producer.
  await a.page.waitForFunction(() => document.querySelectorAll(".message").length === Number(new URLSearchParams("n=2").get("n")), null, { timeout: 20_000 });
  console.log("DONE");
} finally {
  await chrome.close();
  site.close();
}
