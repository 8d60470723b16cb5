/** The recipes for the JavaScript client do what they say. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

const RECIPES = new URL('../../docs/how-to/javascript.md', import.meta.url);
const CLIENT = new URL('../../zephserver/static/zephclient.esm.js', import.meta.url);
const FOLDER = join(process.env.ZEPH_FOLDER, `recipes-${process.pid}`);
const run = promisify(execFile);
const files = [];

/** As much of React as a hook needs; effects run twice, as in strict mode. */
const REACT = `
export const renders = [];
export const ends = [];
export function useState(first) {
  const at = renders.length;
  renders.push(first);
  return [first, (next) => { renders[at] = typeof next === 'function' ? next(renders[at]) : next; }];
}
export function useEffect(effect) {
  effect()();
  ends.push(effect());
}
export function useSyncExternalStore(subscribe, read) {
  ends.push(subscribe(() => renders.push(read())));
  return read();
}
`;

before(() => {
  mkdirSync(join(FOLDER, 'node_modules', 'react'), { recursive: true });
  copyFileSync(CLIENT, join(FOLDER, 'zephclient.esm.js'));
  writeFileSync(join(FOLDER, 'package.json'), '{"type": "module"}');
  writeFileSync(join(FOLDER, 'node_modules', 'react', 'package.json'), '{"type": "module", "main": "index.js"}');
  writeFileSync(join(FOLDER, 'node_modules', 'react', 'index.js'), REACT);
  for (const [, code] of readFileSync(RECIPES, 'utf8').matchAll(/^```js\n([^]*?)^```/gm)) {
    const name = /^\/\/ (\S+)\n/.exec(code)?.[1] ?? `part-${files.length}.js`;
    files.push(name);
    writeFileSync(join(FOLDER, name), code.replace("'/zephclient.esm.js'", "'./zephclient.esm.js'"));
  }
});

test('every example is JavaScript', async () => {
  assert.ok(files.length >= 9);
  for (const file of files) await run(process.execPath, ['--check', join(FOLDER, file)]);
});

test('the example of a test runs, and passes', async () => {
  const env = { ...process.env };
  delete env.NODE_TEST_CONTEXT; // that run is one of its own
  const args = ['--test', '--test-reporter=tap', 'search.test.mjs'];
  const { stdout } = await run(process.execPath, args, { cwd: FOLDER, env });

  assert.match(stdout, /^# pass 1$/m);
});

test('the hooks are in the room once, hear it, and leave it', async () => {
  writeFileSync(join(FOLDER, 'client.js'), `
    import Zephclient from './zephclient.esm.js';
    export const said = [];
    class Socket {
      readyState = 1;
      constructor() { Socket.last = this; queueMicrotask(() => this.onopen()); }
      send(text) {
        const message = JSON.parse(text);
        said.push(message);
        if ('session_id' in message) this.hear({ msgtype: 'welcome', cid: 'c', user: { id: 7, username: 'ann' } });
        if (message.msgtype === 'join') this.hear({ msgtype: 'joined', room: message.room, id: message.id });
        if (message.msgtype === 'leave') this.hear({ msgtype: 'left', room: message.room, id: message.id });
      }
      hear(message) { queueMicrotask(() => this.onmessage({ data: JSON.stringify(message) })); }
      close() {}
    }
    export const hear = (message) => Socket.last.hear(message);
    export const client = new Zephclient({ url: 'ws://test/ws', room: null, WebSocket: Socket });
  `);
  const [{ useConnection, useRoom }, { ends, renders }, { client, hear, said }] = await Promise.all([
    import(join(FOLDER, 'hooks.js')),
    import(join(FOLDER, 'node_modules', 'react', 'index.js')),
    import(join(FOLDER, 'client.js')),
  ]);
  if (client.state !== 'connected') await new Promise((done) => client.on('welcome', done));
  after(() => client.close());

  const state = useConnection();
  const { send } = useRoom('lobby', 'chat');
  await new Promise(setImmediate);
  hear({ task: 'chat', data: 'mine', room: 'lobby' });
  hear({ task: 'chat', data: 'not mine', room: 'news' });
  hear({ msgtype: 'user_list', data: ['ann', 'bob'], room: 'lobby', total: 2 });
  await new Promise(setImmediate);
  send('hello');
  const rooms = [...client.rooms];
  ends.forEach((end) => end());
  await new Promise(setImmediate);

  assert.equal(state, 'connected');
  assert.deepEqual(rooms, ['lobby']);
  assert.deepEqual(renders.slice(0, 3), [['mine'], ['ann', 'bob'], null]);
  assert.deepEqual(said.find(({ task }) => task === 'chat'), { task: 'chat', data: 'hello', room: 'lobby' });
  assert.deepEqual(client.rooms, []);
});

test('the state in words', async () => {
  const { describe } = await import(join(FOLDER, 'state.js'));

  assert.equal(describe({ state: 'waiting', retryIn: 2500 }), 'again in 3 s');
  assert.equal(describe({ state: 'waiting', retryIn: null }), 'offline');
  assert.equal(describe({ state: 'closed', code: 4004, reason: 'good night' }), 'sent away: good night');
});
