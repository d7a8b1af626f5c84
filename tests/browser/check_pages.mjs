// Opens HTML files in headless Chromium, narrow and wide, light and dark, and says what is wrong.
//
//   node check_pages.mjs FOLDER FILE.html...    screenshots go to FOLDER
//
// A fault is a message on the console, a request for anything but the page, an element that sticks
// out of the window, or what axe-core finds serious.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTHS = [360, 1280];
const SCHEMES = ["light", "dark"];
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

// Runs in the page. Inside an <svg> only text counts: what else is drawn may be clipped.
function sticksOut() {
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.ownerSVGElement && element.tagName !== "text") continue;
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0) continue;
    if (box.left < -1 || box.right > window.innerWidth + 1) {
      const text = element.textContent.trim().slice(0, 40);
      found.push(`<${element.tagName}> ${Math.round(box.left)} to ${Math.round(box.right)}: ${text}`);
    }
  }
  const page = document.scrollingElement;
  if (page.scrollWidth > window.innerWidth) found.push(`the page is ${page.scrollWidth} wide`);
  return found;
}

async function look(browser, file, width, scheme, axe, folder) {
  const url = pathToFileURL(resolve(file)).href;
  const context = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme: scheme, offline: true,
  });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (request.url() !== url && !request.url().startsWith("data:")) {
      faults.push(`request: ${request.url()}`);
    }
  });
  await page.goto(url, { waitUntil: "load" });
  faults.push(...(await page.evaluate(sticksOut)).map((what) => `outside: ${what}`));
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const { id, impact, nodes } of violations) {
    if (impact === "serious" || impact === "critical") {
      faults.push(`axe ${id} (${impact}): ${nodes.length} times, as in ${nodes[0].html.slice(0, 120)}`);
    }
  }
  const name = `${basename(file, ".html")}-${width}-${scheme}.png`;
  await page.screenshot({ path: join(folder, name), fullPage: true });
  await context.close();
  return faults;
}

const [folder, ...files] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const profile = await mkdtemp(join(tmpdir(), "pages-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ARGUMENTS,
  env: { ...process.env, HOME: profile },
});
let count = 0;
for (const file of files) {
  for (const width of WIDTHS) {
    for (const scheme of SCHEMES) {
      const faults = await look(browser, file, width, scheme, axe, folder);
      console.log(`${file}, ${width} px, ${scheme}: ${faults.length ? "" : "no fault"}`);
      for (const fault of faults) console.log(`  ${fault}`);
      count += faults.length;
    }
  }
}
await browser.close();
await rm(profile, { recursive: true, force: true });
process.exit(count ? 1 : 0);
