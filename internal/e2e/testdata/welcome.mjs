// Opens the welcome page, says so, and waits for a message that somebody else publishes; then publishes one itself.
import { browser, open } from "./browser.mjs";

const url = process.argv[2];
const chrome = await browser();
try {
  const page = await open(chrome, url);
  await page.waitForFunction(() => document.getElementById("state").dataset.status === "connected", null, { timeout: 10_000 });
  console.log("CONNECTED");
  await page.waitForFunction(() => document.getElementById("messages").textContent.includes("hello from outside"), null, { timeout: 20_000 });
  console.log("RECEIVED");
  await page.fill("#data", '{"text":"<b>from the page</b>"}');
  await page.click("#publish button");
  await page.waitForFunction(() => document.getElementById("messages").textContent.includes("<b>from the page</b>"), null, { timeout: 10_000 });
  if (await page.$("#messages b")) throw new Error("a message was rendered as HTML");
  const docs = await open(chrome, new URL("/docs", url).href);
  await docs.waitForFunction(() => document.body.textContent.includes("/v1/tokens:issue"), null, { timeout: 10_000 });
  console.log("DONE");
} finally {
  await chrome.close();
}
