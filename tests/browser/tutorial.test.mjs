/** The tutorial "a chat in ten minutes", followed to the letter, with two people at their browsers. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { launch, openWindow } from './browser.mjs';

const PAGE = new URL('../../docs/tutorial/chat-in-ten-minutes.md', import.meta.url);
const HOME = join(process.env.ZEPH_FOLDER, 'tutorial');
const FOLDER = join(HOME, 'chat');
const run = promisify(execFile);

let browser;
let port;
before(async () => {
  [browser, port] = await Promise.all([launch(), freePort()]);
  mkdirSync(HOME, { recursive: true });
});
after(async () => {
  await browser?.close();
  await shell('zephctl stop').catch(() => {});
});

/** The steps of the page, by chapter: files to write and commands to run, in order. */
function chapters() {
  const text = readFileSync(PAGE, 'utf8').replaceAll('8080', port);
  return text.split(/^## /m).slice(1).map((chapter) => {
    const found = chapter.matchAll(/^```\w+\n(?:# |\/\/ |<!-- )([\w./]+)(, .*)?(?: -->)?\n([^]*?)^```|^ {4}(.*)$/gm);
    const steps = [];
    for (const [, file, how, code, line] of found) {
      if (file) steps.push({ file, how: how ?? '', code });
      else if (line.startsWith('$ ')) steps.push({ command: line.slice(2), answer: [] });
      else steps.at(-1).answer.push(line);
    }
    return steps;
  });
}

async function follow(steps) {
  for (const { file, how, code, command, answer } of steps) {
    if (command) {
      const said = await shell(command);
      assert.equal(plain(said), plain(answer.join('\n')), command);
    } else if (how.startsWith(', instead of')) {
      const path = join(FOLDER, file);
      writeFileSync(path, readFileSync(path, 'utf8').replace(/^ {2}client\.send\(.*\n/m, () => code));
    } else if (how === ', more') {
      appendFileSync(join(FOLDER, file), `\n${code}`);
    } else {
      mkdirSync(dirname(join(FOLDER, file)), { recursive: true });
      writeFileSync(join(FOLDER, file), code);
    }
  }
}

let isInside = false;
async function shell(command) {
  if (command === 'cd chat') isInside = true;
  const env = { ...process.env, PATH: `${process.env.ZEPH_BIN}:${process.env.PATH}` };
  delete env.ZEPHSETTINGS;
  const cwd = isInside ? FOLDER : HOME;
  const { stdout, stderr } = await run('bash', ['-c', command === 'cd chat' ? 'true' : command], { cwd, env, timeout: 30_000 });
  return stdout + stderr;
}

/** What was said, without what differs from one machine to the next, and without the head that a terminal gets. */
function plain(text) {
  return text.replace(/^ *(NAME|─).*\n/gm, '').replaceAll(FOLDER, '/home/you/chat').replace(/pid \d+/g, 'pid N').replace(/[ \t]+/g, ' ').trim();
}

async function visit(name) {
  const page = await openWindow(browser);
  page.on('dialog', (dialog) => dialog.accept(name));
  await page.goto(`http://127.0.0.1:${port}/`);
  return page;
}

const says = async (page, text) => {
  await page.getByLabel('Message').fill(text);
  await page.keyboard.press('Enter');
};
const hears = (page, text) => page.locator('#log li', { hasText: text }).first().waitFor();

test('the tutorial works as it is written', async () => {
  const [task, settings, page, start, people, history, answers, stop] = chapters();
  for (const steps of [task, settings, page]) await follow(steps);
  await follow(start.slice(0, 2));
  const ann = await visit('Ann');
  const bob = await visit('Bob');
  await says(ann, 'hello Bob');
  await hears(bob, 'Ann: hello Bob');
  await hears(ann, 'Ann: hello Bob');
  await follow(start.slice(2));
  await hears(bob, 'the shell: hello');

  await follow(people);
  await Promise.all([ann.reload(), bob.reload()]);
  await ann.getByText('Here: Ann, Bob').or(ann.getByText('Here: Bob, Ann')).waitFor();
  await ann.getByText('connected', { exact: true }).waitFor();

  await follow(history);
  await Promise.all([ann.reload(), bob.reload()]);
  await ann.getByText('connected', { exact: true }).waitFor();
  await bob.getByText('connected', { exact: true }).waitFor();

  const [stopped, started, task2, call, page2] = answers;
  await follow([stopped, started]);
  await Promise.all([ann, bob].map((one) => one.getByText(/back again/).waitFor()));
  const written = logged('reloaded');
  await follow([task2]);
  await written;
  await follow([call, page2]);
  await ann.reload();
  await says(ann, ' ');
  await hears(ann, 'say something');
  await says(ann, ' all is well ');
  await hears(bob, 'Ann: all is well');
  assert.deepEqual(ann.faults.filter((fault) => !/WebSocket|404/.test(fault)), []);

  await follow(stop);
});

/** Wait until the log of the server has a line more with this word. */
async function logged(word) {
  const count = () => readFileSync(join(FOLDER, 'logging.log'), 'utf8').split(word).length;
  const before = count();
  while (count() === before) await new Promise((done) => setTimeout(done, 20));
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(String(port)));
    });
  });
}
