/** Django users whose WebSocket is on another host, where no cookie goes. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, isState, launch, say } from './browser.mjs';
import { DjangoSite, logInTo } from './django_site.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('a WebSocket on another host is told by a token who it is, and by a new one after a break', async () => {
  const far = await DjangoSite.start({
    django: 'ZEPHSERVER["URL"] = f"ws://localhost:{os.environ[\'PORT\']}/ws"',
    zeph: 'SAME_DOMAIN = False',
  });
  try {
    await far.makeUsers('ada');
    const page = await logInTo(browser, far, 'ada');
    const fetched = [];
    page.on('request', (request) => request.url().endsWith('/zephserver/token') && fetched.push(request.method()));
    await say(page, 'By token.');
    await hears(page, 'By token.');

    far.zeph.kill();
    await isState(page, 'Reconnecting');
    await far.zeph.start();
    await isState(page, 'Connected');
    await say(page, 'By another token.');
    await hears(page, 'By another token.');
    assert.ok(fetched.length > 0);

    await far.shell('from django.contrib.sessions.models import Session; '
      + 'from django.contrib.sessions.backends.db import SessionStore; '
      + '[SessionStore(one.session_key).flush() for one in Session.objects.all()]');
    await page.getByText('You are logged out.').waitFor();
  } finally {
    await far.close();
  }
});
