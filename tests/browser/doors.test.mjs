/** Who may come in, and over what. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { hears, launch, openWindow, say, visitChat } from './browser.mjs';
import { stranger } from './pages.mjs';
import { Site } from './site.mjs';

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test('a page of another origin is refused', async () => {
  const site = await Site.make('chat');
  await site.start();
  const elsewhere = createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(request.url === '/' ? stranger(site.url(''), site.url('/ws', 'ws')) : '');
  });
  await new Promise((done) => elsewhere.listen(0, '127.0.0.1', done));
  try {
    const page = await openWindow(browser);
    await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
    await page.waitForFunction(() => told.filter(([, value]) => value.state === 'waiting').length > 1);

    const told = await page.evaluate(() => told);
    assert.deepEqual(told.filter(([event]) => event === 'welcome'), []);
    assert.equal(told.find(([, value]) => value.state === 'waiting')[1].code, 1006); // browsers do not tell more
    assert.match(page.faults.join(), /403/);
    assert.equal(JSON.parse(await site.zephctl('clients', 'list', '-o', 'json')).clients.length, 0);
  } finally {
    elsewhere.close();
    await site.close();
  }
});

test('over TLS the page and its WebSocket are https and wss', async () => {
  const site = await Site.make('chat');
  const [key, certificate] = ['key.pem', 'cert.pem'].map((name) => join(site.folder, name));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key,
    '-out', certificate, '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
  ], { stdio: 'ignore' });
  site.write('zephsettings.py', `${site.read('zephsettings.py')}
TLS_CERTIFICATE, TLS_KEY = "cert.pem", "key.pem"
`);
  await site.start();
  site.url = (path = '/') => `https://127.0.0.1:${site.port}${path}`;
  try {
    const ann = await visitChat(browser, site, 'Ann', { ignoreHTTPSErrors: true });
    const bob = await visitChat(browser, site, 'Bob', { ignoreHTTPSErrors: true });
    await say(ann, 'nobody else reads this');
    await hears(bob, 'nobody else reads this');

    assert.deepEqual(bob.faults, []);
  } finally {
    await site.close();
  }
});
