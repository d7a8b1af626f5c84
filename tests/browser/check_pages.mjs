// Opens HTML files in headless Chromium, narrow and wide, light and dark, and says what is wrong.
//
//   node check_pages.mjs FOLDER FILE.html...    screenshots go to FOLDER
//   node check_pages.mjs FOLDER --site SITE     all pages of a site, and its search
//
// A fault is a message on the console, a request for anything but the page (or what lies in SITE), an
// element that sticks out of the window, or, in pages that are all ours, what axe-core finds serious.

import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const WIDTHS = [360, 1280];
const SCHEMES = ["light", "dark"];
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

// Runs in the page. Inside an <svg> only text counts: what else is drawn may be clipped. What lies in
// a box that scrolls can be reached, and a menu may wait where nobody sees it, left of the window.
function sticksOut() {
  const inside = (box) => box.left >= -1 && box.right <= window.innerWidth + 1;
  const scrolls = (element) => {
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
      const { overflowX } = getComputedStyle(box);
      if (/auto|scroll/.test(overflowX) && inside(box.getBoundingClientRect())) return true;
    }
    return false;
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.ownerSVGElement && element.tagName !== "text") continue;
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || box.right <= 0) continue;
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    if (!inside(box) && !scrolls(element)) {
      const text = element.textContent.trim().slice(0, 40);
      found.push(`<${element.tagName}> ${Math.round(box.left)} to ${Math.round(box.right)}: ${text}`);
    }
  }
  const page = document.scrollingElement;
  if (page.scrollWidth > window.innerWidth) found.push(`the page is ${page.scrollWidth} wide`);
  return found;
}

// Opens a page in a context of its own. Returns it, and the faults as they come.
async function open(browser, file, site, colorScheme = "light") {
  const url = pathToFileURL(resolve(file)).href;
  const allowed = site && pathToFileURL(resolve(site)).href + "/";
  const context = await browser.newContext({ offline: true, colorScheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => faults.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("requestfailed", (request) => faults.push(`failed: ${request.url()}`));
  page.on("request", (request) => {
    const asked = request.url();
    if (asked === url || /^(data|about):/.test(asked) || (allowed && asked.startsWith(allowed))) return;
    faults.push(`request: ${asked}`);
  });
  await page.goto(url, { waitUntil: "load" });
  return { page, faults };
}

async function serious(page, axe) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run({ preload: false }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, impact, nodes }) =>
      `axe ${id} (${impact}): ${nodes.length} times, as in ${nodes[0].html.slice(0, 120)}`);
}

// Looks at a page in all widths and colours. Returns what it saw: where, and which faults.
async function look(browser, file, axe, folder, site) {
  const name = relative(site || join(file, ".."), file).replace(/\.html$/, "").replaceAll("/", "-");
  const seen = [];
  for (const colorScheme of SCHEMES) {
    const { page, faults } = await open(browser, file, site, colorScheme);
    seen.push([colorScheme, faults]);
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      await page.evaluate(() => new Promise(requestAnimationFrame));
      const outside = (await page.evaluate(sticksOut)).map((what) => `outside: ${what}`);
      seen.push([`${colorScheme}, ${width} px`, [...outside, ...(site ? [] : await serious(page, axe))]]);
      const path = join(folder, `${name}-${width}-${colorScheme}.png`);
      await page.screenshot({ path, fullPage: !site, timeout: 120_000 });
    }
    await page.context().close();
  }
  return seen;
}

// Whether the search of a site, which works without a server, finds a word.
async function search(browser, site) {
  const { page, faults } = await open(browser, join(site, "index.html"), site);
  await page.click("[data-md-component=search-query]");
  await page.keyboard.type("prune_low_magnitude");
  await page.waitForSelector(".md-search-result__item", { timeout: 30_000 })
    .catch(() => faults.push("search: it finds nothing"));
  await page.context().close();
  return [["search", faults]];
}

const [folder, ...rest] = process.argv.slice(2);
const site = rest[0] === "--site" ? rest[1] : null;
const files = !site ? rest : (await readdir(site, { recursive: true }))
  .filter((name) => name.endsWith(".html") && name !== "404.html").sort().map((name) => join(site, name));
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const profile = await mkdtemp(join(tmpdir(), "pages-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ARGUMENTS,
  env: { ...process.env, HOME: profile },
});
let count = 0;
const tell = (what, seen) => {
  for (const [where, faults] of seen) {
    console.log(`${what}, ${where}: ${faults.length ? "" : "no fault"}`);
    for (const fault of faults) console.log(`  ${fault}`);
    count += faults.length;
  }
};
for (const file of files) tell(file, await look(browser, file, axe, folder, site));
if (site) tell(site, await search(browser, site));
await browser.close();
await rm(profile, { recursive: true, force: true });
process.exit(count ? 1 : 0);
