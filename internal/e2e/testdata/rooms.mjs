// Two pages of the older message server write to each other, and one reads what it missed. Argument: host:port.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { browser } from "./browser.mjs";

const [address] = process.argv.slice(2);
const site = createServer((_, res) => {
  res.setHeader("Content-Type", "text/html");
  res.end(readFileSync(new URL("./rooms.html", import.meta.url)));
});
await new Promise((ok) => site.listen(0, "127.0.0.1", ok));
const chrome = await browser([`MAP localhost:5000 ${address}`]);
try {
  const context = await chrome.newContext(); // one, so that local storage outlives a page
  const open = async (name) => {
    const page = await context.newPage();
    page.on("pageerror", (e) => { console.error("page error:", e); process.exitCode = 1; });
    await page.goto(`http://127.0.0.1:${site.address().port}/#${name}`);
    await page.waitForFunction(() => document.querySelector(".id").textContent !== "", null, { timeout: 10_000 });
    return { page, id: await page.textContent(".id"), room: Number(await page.evaluate(() => document.body.dataset.room)) };
  };
  const send = async (from, to, text) => {
    await from.page.fill("#To", to);
    await from.page.fill("#Text", text);
    await from.page.click("button");
  };
  const lines = (p) => p.page.$$eval(".messages li", (all) => all.map((x) => x.textContent));
  const expect = async (p, want) => {
    await p.page.waitForFunction((n) => document.querySelectorAll(".messages li").length >= n, want.length, { timeout: 10_000 });
    const got = await lines(p);
    if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`a page has ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  };
  const ann = await open("ann");
  let bob = await open("bob");
  if (!/^[0-9a-f]{32}$/.test(ann.id) || bob.room !== ann.room + 1) throw new Error(`id ${ann.id}, rooms ${ann.room} and ${bob.room}`);
  await ann.page.waitForFunction(() => Number(document.body.dataset.users) === 2, null, { timeout: 10_000 });
  await send(ann, bob.id, "hello bob");
  await expect(bob, [`${ann.id}: hello bob`]);
  await send(bob, ann.id, "hello ann");
  await expect(ann, [`${bob.id}: hello ann`]);

  const name = bob.id;
  await bob.page.close();
  await ann.page.waitForFunction(() => document.body.dataset.gone === "1", null, { timeout: 10_000 });
  await send(ann, name, "while you were away, 1");
  await send(ann, name, "while you were away, 2");
  bob = await open("bob");
  if (bob.id !== name) throw new Error(`the id was ${name} and is ${bob.id}`);
  await expect(bob, [`${ann.id}: while you were away, 1`, `${ann.id}: while you were away, 2`]);
  // Who comes and goes within a beat is not told: ann is to know of bob first.
  await ann.page.waitForFunction(() => Number(document.body.dataset.users) === 3, null, { timeout: 10_000 });
  await bob.page.close();
  await ann.page.waitForFunction(() => document.body.dataset.gone === "2", null, { timeout: 10_000 });
  await send(ann, name, "once more");
  bob = await open("bob");
  await expect(bob, [`${ann.id}: once more`]);
  console.log("DONE");
} finally {
  await chrome.close();
  site.close();
}
