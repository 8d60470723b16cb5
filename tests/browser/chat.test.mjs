/** People chat, with the page of the example. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, isState, launch, logOf, openWindow, people, say, visitChat } from './browser.mjs';
import { OLD } from './pages.mjs';
import { Site } from './site.mjs';

let browser;
let site;
before(async () => {
  [browser, site] = await Promise.all([launch(), Site.make('chat', { 'static/old.html': OLD })]);
  site.write('zephsettings.py', `${site.read('zephsettings.py')}\nLEAVE_DELAY = 2\n`);
  await site.start('--dev');
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const room = (name) => ({ path: `/?room=${name}` });
const joins = async (page, name) => {
  await page.getByLabel('Name of a room to join').fill(name);
  await page.keyboard.press('Enter');
};

test('two windows chat, and a third one that comes later sees what was said', async () => {
  const ann = await visitChat(browser, site, 'Ann');
  const bob = await visitChat(browser, site, 'Bob');

  await people(ann, 'Ann', 'Bob');
  await say(ann, 'hello Bob');
  await hears(bob, 'hello Bob');
  await say(bob, '<img src=x onerror="document.title=1"> & <b>hello</b>');
  await hears(ann, '<b>hello</b>');
  const carol = await visitChat(browser, site, 'Carol');
  await hears(carol, '<b>hello</b>');

  const said = ['hello Bob', '<img src=x onerror="document.title=1"> & <b>hello</b>'];
  assert.deepEqual(await logOf(ann), ['Bob came in', ...said, 'Carol came in']);
  assert.deepEqual(await logOf(carol), said);
  assert.equal(await ann.locator('.message.mine').count(), 1);
  assert.equal(await ann.locator('.log img, .log .text b').count(), 0);
  for (const page of [ann, bob, carol]) {
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
});

test('one is in several rooms at once, sees what is new in the others, and leaves one', async () => {
  const ann = await visitChat(browser, site, 'Ann', room('red'));
  const bob = await visitChat(browser, site, 'Bob', room('red'));
  await joins(ann, 'blue');
  await ann.getByRole('heading', { name: 'blue' }).waitFor();

  await say(bob, 'are you there?');
  await ann.getByRole('button', { name: 'red 1 new messages' }).click();
  await hears(ann, 'are you there?');
  await bob.getByLabel('Name of a room to join').focus(); // who thinks of joining is shown what there is now
  await bob.getByRole('button', { name: 'blue 1 person' }).click();
  await people(bob, 'Ann', 'Bob');
  await bob.getByRole('button', { name: 'Leave red' }).click();
  await people(ann, 'Ann');

  assert.equal((await logOf(ann)).at(-1), 'Bob left');
  assert.equal(await bob.title(), 'blue · Chat');
  await Promise.all([ann, bob].map((page) => page.context().close()));
});

test('a page that is loaded again makes no noise, and is in its rooms again', async () => {
  const ann = await visitChat(browser, site, 'Ann', room('quiet'));
  const bob = await visitChat(browser, site, 'Bob', room('quiet'));
  const carol = await visitChat(browser, site, 'Carol', room('quiet'));
  await joins(bob, 'other');
  await people(ann, 'Ann', 'Bob', 'Carol');

  await bob.reload();
  await isState(bob, 'Connected');
  await carol.context().close(); // so that one knows how long to look: Bob would have left before her
  await people(ann, 'Ann', 'Bob');

  assert.deepEqual(await logOf(ann), ['Bob came in', 'Carol came in', 'Carol left']);
  assert.equal(await bob.getByRole('button', { name: 'Leave other' }).count(), 1);
  await Promise.all([ann, bob].map((page) => page.context().close()));
});

test('with another name one leaves, and comes again', async () => {
  const ann = await visitChat(browser, site, 'Ann', room('names'));
  const bob = await visitChat(browser, site, 'Bob', room('names'));

  await bob.getByRole('button', { name: 'change your name' }).click();
  await bob.getByLabel('Your name').fill('Robert');
  await bob.keyboard.press('Enter');
  await people(ann, 'Ann', 'Robert');
  await say(bob, 'it is me');
  await hears(ann, 'it is me');

  assert.equal(await ann.locator('.by', { hasText: 'Robert' }).count(), 1);
  await Promise.all([ann, bob].map((page) => page.context().close()));
});

test('who is kicked is told why, and does not come back before asking for it', async () => {
  const ann = await visitChat(browser, site, 'Ann', room('order'));
  const bob = await visitChat(browser, site, 'Bob', room('order'));
  await people(ann, 'Ann', 'Bob');

  await site.zephctl('clients', 'kick', 'Bob', '--reason', 'good night');
  await isState(bob, 'Disconnected');
  await bob.getByText('You were disconnected: good night').waitFor();
  await people(ann, 'Ann'); // two seconds later he is still away

  assert.equal(await bob.getByRole('textbox', { name: 'Message' }).isDisabled(), true);
  await bob.getByRole('button', { name: 'Come back' }).click();
  await isState(bob, 'Connected');
  await people(ann, 'Ann', 'Bob');
  await Promise.all([ann, bob].map((page) => page.context().close()));
});

test('all of it can be done with the keyboard', async () => {
  const ann = await openWindow(browser);
  await ann.goto(site.url('/?room=keys'));

  await ann.keyboard.type('Ann');
  await ann.keyboard.press('Enter');
  await isState(ann, 'Connected');
  await ann.keyboard.type('first line');
  await ann.keyboard.press('Shift+Enter');
  await ann.keyboard.type('second line');
  await ann.keyboard.press('Enter');
  await hears(ann, 'second line');
  const seen = [];
  for (let count = 0; count < 8; count++) {
    await ann.keyboard.press('Shift+Tab'); // from the message field backwards
    seen.unshift(await ann.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent));
  }
  await ann.getByLabel('Name of a room to join').press('x');
  await ann.keyboard.press('Enter');
  await ann.getByRole('heading', { name: 'x', exact: true }).waitFor();
  await ann.keyboard.press('Alt+ArrowUp');
  await ann.getByRole('heading', { name: 'keys' }).waitFor();

  assert.deepEqual(await logOf(ann), ['first line\nsecond line']);
  const wanted = ['Write a message', 'AAnn, change your name', 'keys', 'Leave keys', 'Name of a room to join', 'Join'];
  assert.deepEqual(seen.filter((name) => wanted.includes(name)), wanted);
  assert.deepEqual(ann.faults, []);
  await ann.context().close();
});

test('in development mode the page says what was reloaded, and the next message runs it', async () => {
  const ann = await visitChat(browser, site, 'Ann', room('workshop'));

  site.write('chat_tasks.py', site.read('chat_tasks.py').replace('text[:LONGEST]', 'text[:LONGEST].upper()'));
  await ann.getByText('reloaded chat_tasks').waitFor();
  await say(ann, 'louder');
  await hears(ann, 'LOUDER');
  site.write('static/chat.css', `${site.read('static/chat.css')}\nmain { border-color: rgb(1, 2, 3); }\n`);
  await ann.getByRole('button', { name: 'Load the page again' }).click();
  await ann.waitForFunction(() => getComputedStyle(document.querySelector('main')).borderTopColor === 'rgb(1, 2, 3)');

  await isState(ann, 'Connected');
  await hears(ann, 'LOUDER');
  assert.deepEqual(ann.faults, []);
  await ann.context().close();
});

test('a page of 2015 works: it sends at once, pings, and hears the tasks that it knows', async () => {
  const today = await visitChat(browser, site, 'Today');
  const page = await openWindow(browser);
  await page.goto(site.url('/old.html?ping=300'));

  await page.waitForFunction(() => heard.echo.length === 2 && heard.TaskPing.length > 1);
  await people(today, 'Today', 'old hand');
  await page.evaluate(() => old.send('chat', { text: 'hello from 2015' }));
  await hears(today, /hello from 2015/i);
  await say(today, 'hello from today');
  await page.waitForFunction(() => heard.chat.length === 2);

  const { heard, unknown } = await page.evaluate(() => ({ heard, unknown: old.unknown }));
  assert.deepEqual(heard.echo, ['first', 'second']);
  assert.deepEqual(heard.chat.map(({ from }) => from), ['old hand', 'Today']);
  assert.ok(unknown >= 3); // welcome, joined, user_list
  assert.deepEqual(page.faults, []);
  await Promise.all([today, page].map((one) => one.context().close()));
});

test('nothing of what browsers did was an error to the server', () => {
  const errors = site.read('logging.log').split('\n').filter((line) => line.includes(' ERROR '));

  assert.deepEqual(errors.map((line) => line.slice(0, 300)), []);
});
