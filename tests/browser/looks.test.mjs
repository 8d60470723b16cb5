/** What the pages look like: pictures for a person to judge, and what a machine can check of them. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { barriers, hears, isState, launch, openWindow, people, picture, say, visitChat } from './browser.mjs';
import { Site } from './site.mjs';

let browser;
let site;
before(async () => {
  [browser, site] = await Promise.all([launch(), Site.make('chat')]);
  await site.start();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const TALK = [
  ['Ada Lovelace', 'Good morning! Did anybody restart the server already?'],
  ['Grace Hopper', 'Yes, two minutes ago. Did you notice?'],
  ['Ada Lovelace', 'Not at all: my page was back before I had finished the sentence.'],
  ['Ada Lovelace', 'And nothing is missing.'],
  ['Linus', 'I was on a train, in a tunnel. What you wrote meanwhile came in one go, in the right order.'],
  ['Grace Hopper', 'That is what the history of the room is for.'],
];

async function meet(options) {
  const ada = await visitChat(browser, site, 'Ada Lovelace', options);
  const others = new Map([['Ada Lovelace', ada]]);
  for (const name of ['Grace Hopper', 'Linus']) others.set(name, await visitChat(browser, site, name));
  return others;
}

test('a chat on a desk, light and dark, and while the connection is gone', async () => {
  const pages = await meet({ colorScheme: 'light' });
  const ada = pages.get('Ada Lovelace');
  for (const [name, text] of TALK) {
    await say(pages.get(name), text);
    await hears(ada, text);
  }
  await ada.getByLabel('Name of a room to join').fill('release party');
  await ada.keyboard.press('Enter');
  await pages.get('Linus').getByLabel('Name of a room to join').fill('kernel');
  await pages.get('Linus').keyboard.press('Enter');
  await pages.get('Linus').getByRole('heading', { name: 'kernel' }).waitFor();
  await ada.getByLabel('Name of a room to join').focus();
  await ada.getByRole('button', { name: 'kernel' }).waitFor();
  await ada.getByRole('button', { name: 'lobby', exact: true }).click();
  await people(ada, 'Ada Lovelace', 'Grace Hopper', 'Linus');
  await picture(ada, 'chat-light');
  assert.deepEqual(await barriers(ada), []);
  await ada.emulateMedia({ colorScheme: 'dark' });
  await picture(ada, 'chat-dark');
  assert.deepEqual(await barriers(ada), []);

  const phone = await visitChat(browser, site, 'Margaret', { viewport: { width: 390, height: 760 }, colorScheme: 'dark' });
  await hears(phone, TALK[5][1]);
  await say(phone, 'Hello from my phone');
  await hears(phone, 'Hello from my phone');
  await picture(phone, 'chat-phone');
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 390);
  await phone.getByRole('button', { name: '4 here' }).click();
  await picture(phone, 'chat-phone-people');
  assert.deepEqual(await barriers(phone), []);

  site.kill();
  await isState(ada, 'Reconnecting');
  await say(ada, 'Is anybody there?');
  await ada.emulateMedia({ colorScheme: 'light' });
  await ada.getByText(/Reconnecting in [1-9]\d* s/).waitFor();
  await picture(ada, 'chat-reconnecting');
  assert.deepEqual(await barriers(ada), []);
  await site.start();
  await isState(ada, 'Connected');
  await hears(ada, 'Is anybody there?');
  const fresh = await openWindow(browser);
  await fresh.goto(site.url());
  await fresh.getByLabel('Your name').fill('Ken');
  await picture(fresh, 'chat-name');
  assert.deepEqual(await barriers(fresh), []);
});
