// Shared by the browser scripts: a headless Chromium that reports page errors.
import { chromium } from "playwright-core";

export async function browser(rules = []) {
  const args = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"];
  if (rules.length) args.push(`--host-resolver-rules=${rules.join(", ")}`);
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium-headless-shell", args });
}

export async function open(browser, url) {
  const page = await browser.newPage();
  page.on("pageerror", (e) => { console.error("page error:", e); process.exitCode = 1; });
  await page.goto(url);
  return page;
}
