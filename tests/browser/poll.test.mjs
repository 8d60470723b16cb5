/** The live poll: votes are confirmed, everybody sees them, and a break loses none. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { barriers, isState, launch, openWindow, picture } from './browser.mjs';
import { Proxy } from './proxy.mjs';
import { Site } from './site.mjs';

let browser;
let site;
let proxy;
before(async () => {
  [browser, site] = await Promise.all([launch(), Site.make('poll')]);
  await site.start('--dev');
  proxy = await Proxy.to(site);
});
after(async () => {
  await browser?.close();
  await proxy?.close();
  await site?.close();
});

async function visit(place, options) {
  const page = await openWindow(browser, options);
  await page.goto(place.url());
  await isState(page, 'Live');
  await page.getByRole('heading', { name: 'lunch' }).waitFor();
  return page;
}

const vote = (page, option) => page.getByRole('button', { name: option }).click();
const counts = (page, ...wanted) => page.waitForFunction((wanted) =>
  [...document.querySelectorAll('.count')].map((one) => parseInt(one.textContent)).join() === wanted, wanted.join());

test('votes, presence and recovery', async () => {
  const desk = { viewport: { width: 820, height: 700 } };
  const one = await visit(site, desk);
  const two = await visit(proxy, { ...desk, viewport: { width: 390, height: 700 }, colorScheme: 'dark' });
  const three = await visit(site);
  await one.getByRole('heading', { name: '3 people look at it now' }).waitFor();

  await vote(one, 'Noodles');
  await vote(two, 'Noodles');
  await vote(three, 'Pizza');
  for (const page of [one, two, three]) await counts(page, 2, 1, 0, 0);
  await one.locator('[aria-pressed="true"]', { hasText: 'Noodles' }).waitFor();
  await vote(one, 'The market');
  await counts(three, 1, 1, 1, 0);
  await picture(one, 'poll-light');
  assert.deepEqual(await barriers(one), []);

  proxy.cut();
  await two.getByText(/Reconnecting in/).waitFor();
  await vote(two, 'Pizza'); // waits for the connection
  await two.locator('[aria-busy="true"]', { hasText: 'Pizza' }).waitFor();
  await picture(two, 'poll-reconnecting');
  await vote(three, 'I brought my own');
  await counts(one, 1, 0, 1, 1);
  proxy.mend();
  await two.getByText('Back again; one vote came meanwhile').waitFor();
  for (const page of [one, two, three]) await counts(page, 0, 1, 1, 1);
  await two.locator('[aria-pressed="true"]', { hasText: 'Pizza' }).waitFor();
  await picture(two, 'poll-phone');
  assert.deepEqual(await barriers(two), []);

  const question = site.read('poll_tasks.py').replace('"Noodles"', '"Soup"');
  site.write('poll_tasks.py', question);
  await one.getByText('reloaded poll_tasks').waitFor();
  await one.getByRole('button', { name: 'Soup' }).waitFor();

  site.kill();
  await one.getByText(/Reconnecting in/).waitFor();
  await site.start();
  await one.getByText('Back again; the poll was fetched anew').waitFor();
  await counts(one, 0, 1, 1, 1);
  assert.deepEqual(three.faults.filter((fault) => !/WebSocket/.test(fault)), []);
});
