/** Chromium, and the pages of the examples as a person sees and uses them. */

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const PATIENCE = 15_000; // ms until a test gives up; never waited for when all is well

/** A browser; its profile is new and goes away with it. */
export function launch(options = {}) {
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS, chromiumSandbox: false, ...options });
}

/** A window of its own, as somebody else's computer would have. What goes wrong in it is in `page.faults`. */
export async function openWindow(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 760 }, locale: 'en-GB', ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.faults.push(message.text());
  });
  return page;
}

/** Open the chat and say who one is. */
export async function visitChat(browser, site, name, options = {}) {
  const page = await openWindow(browser, options);
  await page.goto(site.url(options.path ?? '/'));
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Come in' }).click();
  await isState(page, 'Connected');
  return page;
}

/** Wait until the page says so of its connection. */
export function isState(page, word) {
  return page.locator('#state', { hasText: new RegExp(`^${word}$`) }).waitFor();
}

export async function say(page, text) {
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.keyboard.press('Enter');
}

/** Wait for a message that the server has said. */
export function hears(page, text) {
  return page.locator('.log:not([hidden]) .message:not(.waiting, .failed) .text', { hasText: text }).first().waitFor();
}

/** Everything that the room in front has said and noted, in order; without times. */
export function logOf(page) {
  return page.locator('.log:not([hidden]) > *').evaluateAll((items) => items.map((item) => {
    const text = (item.querySelector('.text') ?? item).cloneNode(true);
    text.querySelector('time')?.remove();
    return text.textContent;
  }));
}

/** Wait until the page says that these people are here. */
export async function people(page, ...names) {
  const wanted = [...names].sort().join();
  await page.waitForFunction((wanted) => {
    const found = [...document.querySelectorAll('#people-list li > span:not(.face)')].map((one) => one.textContent);
    return found.sort().join() === wanted;
  }, wanted);
}

/** Keep a picture of the page where ZEPH_SCREENSHOTS says. */
export async function picture(page, name) {
  const folder = process.env.ZEPH_SCREENSHOTS;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled', caret: 'hide' });
}

/** What axe finds wrong for people who do not see, or do not use a mouse: one line each. */
export async function barriers(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
}
