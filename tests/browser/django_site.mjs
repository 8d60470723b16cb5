/** The Django example: its development server beside ours, as a person would start them. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isState, openWindow } from './browser.mjs';
import { Site } from './site.mjs';

const { ZEPH_BIN, ZEPH_PYTHONPATH = '' } = process.env;
const run = promisify(execFile);

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

export class DjangoSite {
  /** Make it, with tables, and start both servers. *more* is what the two settings files have at their ends. */
  static async start(more = {}) {
    const site = new DjangoSite();
    site.zeph = await Site.make('django');
    [site.zeph.port, site.port] = [await freePort(), await freePort()];
    Object.assign(process.env, { PYTHONPATH: ZEPH_PYTHONPATH, SITE_PORT: String(site.port) });
    // Good passwords cost half a second of computing each.
    const settings = site.zeph.read('mysite/settings.py');
    site.zeph.write('mysite/settings.py', `${settings}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
${more.django ?? ''}
`);
    site.zeph.write('zephsettings.py', `${site.zeph.read('zephsettings.py')}\n${more.zeph ?? ''}\n`);
    await site.manage('migrate');
    await site.zeph.start();
    await site.runserver();
    return site;
  }

  get env() {
    return { ...process.env, PORT: String(this.zeph.port) };
  }

  /** Run a command of manage.py: what it said. */
  async manage(...words) {
    const { folder } = this.zeph;
    const { stdout } = await run(join(ZEPH_BIN, 'python'), ['manage.py', ...words], { cwd: folder, env: this.env, timeout: 60_000 });
    return stdout;
  }

  /** Run some Python in the shell of the project. */
  shell(code) {
    return this.manage('shell', '-c', code);
  }

  /** Users whose password is 'a good one'. */
  makeUsers(...names) {
    return this.shell(`
from django.contrib.auth import get_user_model
for name in ${JSON.stringify(names)}:
    get_user_model().objects.create_user(name, password="a good one")
`);
  }

  async runserver() {
    const words = ['-u', 'manage.py', 'runserver', '--noreload', String(this.port)];
    this.django = spawn(join(ZEPH_BIN, 'python'), words, { cwd: this.zeph.folder, env: this.env });
    let said = '';
    this.django.stdout.on('data', (data) => { said += data; });
    this.django.stderr.on('data', (data) => { said += data; });
    const ended = once(this.django, 'exit').then(() => { throw new Error(`runserver ended: ${said}`); });
    ended.catch(() => {});
    for (;;) {
      const answers = await Promise.race([fetch(this.url('/login')).then(({ ok }) => ok, () => false), ended]);
      if (answers) return;
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async close() {
    if (this.django?.exitCode === null) {
      const ended = once(this.django, 'exit');
      this.django.kill();
      await ended;
    }
    await this.zeph.close();
  }

  url(path = '/') {
    return `http://127.0.0.1:${this.port}${path}`;
  }
}

/** Somebody's computer, on which they log in through the form. */
export async function logInTo(browser, site, name, options) {
  const page = await openWindow(browser, options);
  await page.goto(site.url());
  await page.getByLabel('Username').fill(name);
  await page.getByLabel('Password').fill('a good one');
  await page.getByRole('button', { name: 'Log in' }).click();
  await isState(page, 'Connected');
  return page;
}
