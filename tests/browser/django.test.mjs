/** Django users in a browser: they log in through the form, talk in two tabs, and are gone when they log out. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { barriers, hears, isState, launch, logOf, openWindow, people, picture, say } from './browser.mjs';
import { DjangoSite, logInTo } from './django_site.mjs';

let browser;
let site;
before(async () => {
  [browser, site] = await Promise.all([launch(), DjangoSite.start()]);
  await site.makeUsers('ada', 'grace', 'linus');
});
after(async () => {
  await browser?.close();
  await site?.close();
});

const logIn = (name, options) => logInTo(browser, site, name, options);

/** Another tab of the same browser. */
async function tabOf(page) {
  const tab = await page.context().newPage();
  tab.sockets = [];
  tab.on('websocket', (socket) => tab.sockets.push(socket));
  await tab.goto(page.url());
  await isState(tab, 'Connected');
  return tab;
}

/** How long it takes from a page's request to the end of the socket of another, in ms. */
async function closes(tab, page, path, action) {
  const request = page.waitForRequest((one) => new URL(one.url()).pathname === path).then(() => Date.now());
  const end = new Promise((done) => tab.sockets.at(-1).on('close', () => done(Date.now())));
  await action();
  return (await end) - (await request);
}

test('logging in, talking in two tabs, logging out', async () => {
  const ada = await logIn('ada', { colorScheme: 'light' });
  const tab = await tabOf(ada);
  const grace = await logIn('grace');
  await people(ada, 'ada', 'grace'); // two tabs are one person

  await say(ada, 'Good morning! Does the new login work?');
  await Promise.all([hears(tab, 'Good morning!'), hears(grace, 'Good morning!')]);
  await say(grace, 'It does. I see your name, and you did not have to tell it twice.');
  await say(tab, 'From my other tab.');
  await hears(ada, 'From my other tab.');
  const linus = await logIn('linus', { viewport: { width: 390, height: 760 }, colorScheme: 'dark' });
  await hears(linus, 'From my other tab.');
  await say(linus, 'I am on a phone.');
  await hears(ada, 'I am on a phone.');
  await people(ada, 'ada', 'grace', 'linus');
  await picture(ada, 'django-room');
  assert.deepEqual(await barriers(ada), []);
  await picture(linus, 'django-phone');
  assert.deepEqual(await barriers(linus), []);

  const took = await closes(tab, ada, '/logout', () => ada.getByRole('button', { name: 'Log out' }).click());
  assert.ok(took < 2_000, `the socket was closed after ${took} ms`);
  await tab.getByText('You are logged out.').waitFor();
  await picture(tab, 'django-logged-out');
  assert.deepEqual(await barriers(tab), []);
  await ada.getByRole('heading', { name: 'Welcome back' }).waitFor();
  await people(grace, 'grace', 'linus');
  await tab.getByRole('button', { name: 'Log in' }).click();
  await tab.getByLabel('Username').fill('ada');
  await tab.getByLabel('Password').fill('wrong');
  await tab.getByRole('button', { name: 'Log in' }).click();
  await tab.getByRole('alert').waitFor();
  await picture(tab, 'django-login');
  assert.deepEqual(await barriers(tab), []);
  await tab.getByLabel('Password').fill('a good one');
  await tab.getByRole('button', { name: 'Log in' }).click();
  await hears(tab, 'I am on a phone.'); // in the room again, with what was said
  for (const page of [ada, grace, linus]) assert.deepEqual(page.faults, []);
});

test('who signs up is in, a new room is told to everybody, and the shell can speak', async () => {
  const grace = await logIn('grace');
  const page = await openWindow(browser);
  await page.goto(site.url('/sign-up'));
  await page.getByLabel('Username').fill('margaret');
  await page.getByLabel('Password', { exact: true }).fill('a good one');
  await page.getByLabel('Password confirmation').fill('a good one');
  await picture(page, 'django-sign-up');
  await page.getByRole('button', { name: 'Sign up' }).click();
  await isState(page, 'Connected');

  await page.getByLabel('Name of a new room').fill('release party');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'release party' }).waitFor();
  await grace.getByRole('link', { name: 'release party' }).waitFor();
  await site.shell('from zephserver.django import say; say("notice", "Lunch is ready", everyone=True)');
  await Promise.all([page, grace].map((one) => one.getByText('Lunch is ready').waitFor()));
  assert.deepEqual(page.faults, []);
});

test('a password that is changed elsewhere, and a user that may not be here any more', async () => {
  const [linus, grace] = await Promise.all([logIn('linus'), logIn('grace')]);
  const change = (code) => site.shell(`
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username="linus")
${code}
user.save()
`);

  await Promise.all([
    linus.getByText('You are logged out.').waitFor(),
    change('user.set_password("another good one")'),
  ]);
  await say(grace, 'Is linus gone?');
  await hears(grace, 'Is linus gone?');

  assert.ok(!(await logOf(linus)).includes('Is linus gone?'));
});

test('the page comes back by itself when the server does', async () => {
  const page = await logIn('grace');
  site.zeph.kill();
  await isState(page, 'Reconnecting');
  await say(page, 'Still here?');

  await site.zeph.start();

  await hears(page, 'Still here?');
});
