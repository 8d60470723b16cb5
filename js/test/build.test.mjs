/** The files that are served: each form works, is complete and small. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { FakeClock, FakeNet, FakePage } from './fakes.mjs';

const here = fileURLToPath(new URL('..', import.meta.url));
const served = (name) => readFileSync(new URL(`../../zephserver/static/${name}`, import.meta.url), 'utf8');
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const { version } = manifest;
const FORMS = ['zephclient.js', 'zephclient.esm.js', 'zephclient.min.js', 'zephclient.d.ts'];

/** A short conversation with a client of this form. */
function converse(Zephclient) {
  const net = new FakeNet();
  const heard = [];
  const client = new Zephclient({ WebSocket: net.WebSocket, clock: new FakeClock(), page: new FakePage() });
  client.subscribe('chat', (data) => heard.push(data));
  net.last.open().welcome().hear({ task: 'chat', data: 'hello' });
  client.send('chat', 'hi');
  client.close();
  assert.deepEqual(heard, ['hello']);
  assert.deepEqual(net.last.said(), { task: 'chat', data: 'hi' });
  assert.equal(Zephclient.version, version);
}

/** What a plain script leaves behind in a page. */
function run(text) {
  const globals = { TextEncoder, URL, queueMicrotask, setTimeout, clearTimeout, console };
  const before = Object.keys(globals);
  runInContext(text, createContext(globals));
  return { globals, names: Object.keys(globals).filter((name) => !before.includes(name)) };
}

async function load(text, name) {
  const folder = mkdtempSync(join(tmpdir(), 'zephclient-'));
  try {
    writeFileSync(join(folder, name), text);
    return await import(join(folder, name));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const name of FORMS) {
  test(`${name} begins with its version and its license`, () => {
    assert.ok(served(name).startsWith(`/*! zephclient ${version} | Apache-2.0 | `));
  });
}

for (const name of ['zephclient.js', 'zephclient.min.js']) {
  test(`${name} is a plain script that makes one global name`, () => {
    const { globals, names } = run(served(name));

    assert.deepEqual(names, ['Zephclient']);
    converse(globals.Zephclient);
    assert.ok(new globals.Zephclient.ZephError('a', 'b').code === 'a');
  });
}

test('zephclient.esm.js has a default and named exports', async () => {
  const module = await load(served('zephclient.esm.js'), 'esm.mjs');

  assert.deepEqual(Object.keys(module).sort(), ['ZephError', 'Zephclient', 'default']);
  assert.equal(module.default, module.Zephclient);
  assert.equal(module.ZephError, module.Zephclient.ZephError);
  converse(module.default);
});

test('the minified form has less than 10 KB under gzip', () => {
  assert.ok(gzipSync(served('zephclient.min.js')).length < 10_000);
});

test('the readable form has the comments of the sources, and nothing from elsewhere', () => {
  const text = served('zephclient.js');

  for (const file of readdirSync(new URL('../src/', import.meta.url)).filter((name) => name !== 'index.js')) {
    assert.ok(text.includes(`// -- ${file} `), file);
  }
  assert.doesNotMatch(text, /^\s*import\b/m);
  assert.doesNotMatch(text, /\brequire\(|document\.cookie|localStorage|\beval\(|new Function/);
});

test('the built files are current', () => {
  const said = execFileSync(process.execPath, ['build.mjs', '--check'], { cwd: here, encoding: 'utf8' });

  assert.match(said, /are current/);
});

test('the sources have no dependencies', () => {
  assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined]);
});
