/** Servers die and stop, networks break, pages are left: everybody comes back, and nothing is lost that can be kept. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, isState, launch, logOf, openWindow, people, say, visitChat } from './browser.mjs';
import { PLAIN } from './pages.mjs';
import { Proxy } from './proxy.mjs';
import { Site } from './site.mjs';

let browser;
let site;
let proxy;
before(async () => {
  // Playwright turns the back/forward cache off, and one test is about it.
  const options = { ignoreDefaultArgs: ['--disable-back-forward-cache'] };
  [browser, site] = await Promise.all([launch(options), Site.make('chat', { 'static/plain.html': PLAIN })]);
  await site.start();
  proxy = await Proxy.to(site);
});
after(async () => {
  await browser?.close();
  await proxy?.close();
  await site?.close();
});

const alone = async (page) => (await logOf(page)).filter((line) => !/came in|left|meanwhile/.test(line));
const closeAll = (...pages) => Promise.all(pages.map((page) => page.context().close()));

test('a server that is killed and started again: everybody is back in all rooms, and what was written arrives', async () => {
  const ann = await visitChat(browser, site, 'Ann');
  const bob = await visitChat(browser, site, 'Bob');
  await ann.getByLabel('Name of a room to join').fill('second');
  await ann.keyboard.press('Enter');
  await bob.getByLabel('Name of a room to join').fill('second');
  await bob.keyboard.press('Enter');
  await people(bob, 'Ann', 'Bob');
  await say(bob, 'before');
  await hears(ann, 'before');

  site.kill();
  await isState(ann, 'Reconnecting');
  await isState(bob, 'Reconnecting');
  await say(ann, 'while it was down');
  await ann.locator('.waiting', { hasText: 'while it was down' }).waitFor();
  await site.start();
  await Promise.all([isState(ann, 'Connected'), isState(bob, 'Connected')]);
  await hears(bob, 'while it was down');
  await say(bob, 'after');
  await hears(ann, 'after');

  assert.deepEqual(await alone(ann), ['before', 'while it was down', 'after']);
  assert.deepEqual(await alone(bob), ['before', 'while it was down', 'after']);
  for (const page of [ann, bob]) await page.getByRole('button', { name: 'lobby', exact: true }).click();
  await people(ann, 'Ann', 'Bob');
  await say(ann, 'and in the other room');
  await hears(bob, 'and in the other room');
  await closeAll(ann, bob);
});

test('a server that stops says so, and everybody is back when it was started again', async () => {
  const ann = await visitChat(browser, site, 'Ann');
  await say(ann, 'good night');
  await hears(ann, 'good night');

  await site.stop();
  await isState(ann, 'Reconnecting');
  await ann.getByText(/Reconnecting in \d+ s/).waitFor();
  await site.start();
  const now = ann.getByRole('button', { name: 'Try now' });
  await now.click({ timeout: 3000 }).catch(() => {}); // it may be back already
  await isState(ann, 'Connected');
  await say(ann, 'good morning');
  await hears(ann, 'good morning');

  assert.deepEqual((await alone(ann)).slice(-2), ['good night', 'good morning']);
  assert.equal(await ann.locator('#banner').isHidden(), true);
  await closeAll(ann);
});

test('what others said while one page was cut off comes once, in order, whoever said it', async () => {
  const ann = await visitChat(browser, site, 'Ann', { path: '/?room=tunnel' });
  const bob = await visitChat(browser, proxy, 'Bob', { path: '/?room=tunnel' });
  await say(bob, 'I enter a tunnel');
  await Promise.all([ann, bob].map((page) => hears(page, 'I enter a tunnel'))); // or he would miss that, too

  proxy.cut();
  await isState(bob, 'Reconnecting');
  await say(ann, 'one');
  await hears(ann, 'one');
  await site.zephctl('rooms', 'say', 'tunnel', 'chat', '{"text": "two, from the shell"}');
  await hears(ann, 'two');
  await say(ann, 'three');
  await hears(ann, 'three');
  proxy.mend();
  await hears(bob, 'three');
  await bob.getByText('3 messages came meanwhile').waitFor();

  assert.deepEqual(await alone(bob), ['I enter a tunnel', 'one', 'two, from the shell', 'three']);
  assert.equal(await bob.locator('.by', { hasText: 'The server' }).count(), 1);
  await closeAll(ann, bob);
});

test('a browser that is offline says so, keeps what is written, and is back as soon as the network is', async () => {
  const ann = await visitChat(browser, site, 'Ann', { path: '/?room=train' });
  const bob = await visitChat(browser, proxy, 'Bob', { path: '/?room=train' });

  proxy.freeze(); // the other end hears nothing of it
  await bob.context().setOffline(true);
  await isState(bob, 'Offline'); // after 5 s without an answer to its ping
  await say(bob, 'from the train');
  await say(ann, 'where are you?');
  await hears(ann, 'where are you?');
  proxy.mend();
  await bob.context().setOffline(false);
  await isState(bob, 'Connected');
  await hears(ann, 'from the train');

  await hears(bob, 'where are you?');
  assert.deepEqual((await alone(ann)).sort(), ['from the train', 'where are you?']);
  assert.deepEqual((await alone(bob)).sort(), ['from the train', 'where are you?']);
  await closeAll(ann, bob);
});

test('what could not be sent says so, and can be sent again', async () => {
  const ann = await visitChat(browser, site, 'Ann', { path: '/?room=again' });
  const bob = await visitChat(browser, proxy, 'Bob', { path: '/?room=again' });

  proxy.cut();
  await isState(bob, 'Reconnecting');
  await say(bob, 'as who?');
  await bob.getByRole('button', { name: 'change your name' }).click(); // ends the connection, and what waits for it
  await bob.getByLabel('Your name').fill('Robert');
  await bob.keyboard.press('Enter');
  await bob.getByText('Not sent:').waitFor();
  proxy.mend();
  await isState(bob, 'Connected');
  await bob.getByRole('button', { name: 'Send again' }).click();
  await hears(ann, 'as who?');
  await hears(bob, 'as who?');

  assert.deepEqual(await alone(bob), ['as who?']);
  assert.equal(await bob.locator('.failed, .waiting').count(), 0);
  await closeAll(ann, bob);
});

test('of 200 messages without a connection the first 100 wait, and the others are refused at once', async () => {
  const page = await openWindow(browser);
  await page.goto(proxy.url('/plain.html'));
  await page.waitForFunction(() => client.state === 'connected');

  proxy.cut();
  await page.waitForFunction(() => client.state === 'waiting');
  const sent = await page.evaluate(() => {
    const taken = [];
    for (let number = 0; number < 200; number++) taken.push(client.send('chat', { text: `number ${number}` }));
    return taken;
  });
  const refused = await page.evaluate(() => client.request('echo', 1).catch((error) => error.code));
  proxy.mend();
  await page.evaluate(() => client.connect());
  await page.waitForFunction(() => told.filter(([event]) => event === 'chat').length === 100);

  assert.deepEqual(sent, Array.from({ length: 200 }, (_, number) => number < 100));
  assert.equal(refused, 'queue-full');
  const heard = await page.evaluate(() => client.request('echo', 'the end').then(() =>
    told.filter(([event]) => event === 'chat').map(([, data]) => data.text)));
  assert.deepEqual(heard, Array.from({ length: 100 }, (_, number) => `number ${number}`));
  await closeAll(page);
});

test('a page that comes out of the back/forward cache is connected again, with what it missed', async () => {
  const ann = await visitChat(browser, site, 'Ann', { path: '/?room=cache' });
  const bob = await visitChat(browser, site, 'Bob', { path: '/?room=cache' });
  await bob.evaluate(() => {
    window.isTheSame = true;
    addEventListener('pageshow', (event) => { window.wasKept = event.persisted; });
  });

  await bob.goto(site.url('/healthz'));
  await say(ann, 'while you looked elsewhere');
  await hears(ann, 'while you looked elsewhere');
  await bob.goBack({ waitUntil: 'commit' });
  await isState(bob, 'Connected');
  await hears(bob, 'while you looked elsewhere');

  assert.deepEqual(await bob.evaluate(() => [window.isTheSame, window.wasKept]), [true, true]);
  assert.deepEqual(await alone(bob), ['while you looked elsewhere']);
  assert.deepEqual(await logOf(ann), ['Bob came in', 'while you looked elsewhere']);
  await closeAll(ann, bob);
});
