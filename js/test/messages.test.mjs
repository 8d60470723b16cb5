import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Zephclient, connected, make } from './fakes.mjs';

const say = (net, task, data, more) => net.last.hear({ task, data, ...more });

// -- send, subscribe, unsubscribe ------------------------------------------------------------------------------------

test('send says the task and its data', () => {
  const { client, net } = connected();

  assert.equal(client.send('chat', { text: 'hello' }), true);
  assert.equal(client.send('nothing'), true);
  assert.equal(client.send('chat', 1, { room: 'news' }), true);

  assert.deepEqual(net.last.said(3), [
    { task: 'chat', data: { text: 'hello' } },
    { task: 'nothing' },
    { task: 'chat', data: 1, room: 'news' },
  ]);
});

test('a task without a name, and data that JSON cannot carry, are refused at once', async () => {
  const { client } = connected();

  assert.throws(() => client.send(), /a task has a name/);
  assert.throws(() => client.send(''), /a task has a name/);
  assert.throws(() => client.send('chat', 1n), TypeError);
  assert.throws(() => client.subscribe('chat'), /a function is needed/);
  await assert.rejects(client.request('chat', 1n), TypeError);
  await assert.rejects(client.request(5), /a task has a name/);
});

test('a subscriber hears what its task says, with the whole message', () => {
  const { client, net, diary } = connected();
  const heard = [];
  client.subscribe('chat', (data, message) => heard.push([data, message]));

  say(net, 'chat', { text: 'hi' }, { room: 'lobby' });
  say(net, 'other', 1);

  assert.deepEqual(heard, [[{ text: 'hi' }, { task: 'chat', data: { text: 'hi' }, room: 'lobby' }]]);
  assert.equal(diary.message.length, 2);
});

test('unsubscribe removes that very function and no other', () => {
  const { client, net } = connected();
  const heard = [];
  const [one, two] = ['one', 'two'].map((name) => () => heard.push(name));
  client.subscribe('chat', one);
  client.subscribe('chat', two);

  assert.equal(client.unsubscribe('chat', one), true);
  assert.equal(client.unsubscribe('chat', one), false);
  assert.equal(client.unsubscribe('chat', () => {}), false);
  assert.equal(client.unsubscribe('nosuch', two), false);
  say(net, 'chat');

  assert.deepEqual(heard, ['two']);
});

test('a function that was registered twice is called twice, and goes one at a time', () => {
  const { client, net } = connected();
  let calls = 0;
  const count = () => calls++;
  client.subscribe('chat', count);
  client.subscribe('chat', count);

  say(net, 'chat');
  assert.equal(calls, 2);

  client.unsubscribe('chat', count);
  say(net, 'chat');
  assert.equal(calls, 3);

  client.unsubscribe('chat', count);
  say(net, 'chat');
  assert.equal(calls, 3);
});

test('what subscribe returns ends that subscription only, however often it is called', () => {
  const { client, net } = connected();
  let calls = 0;
  const count = () => calls++;
  const off = client.subscribe('chat', count);
  client.subscribe('chat', count);

  off();
  off();
  say(net, 'chat');

  assert.equal(calls, 1);
});

test('a subscriber that takes itself away while it is called makes nobody miss anything', () => {
  const { client, net } = connected();
  const heard = [];
  const once = () => {
    heard.push('once');
    client.unsubscribe('chat', once);
  };
  client.subscribe('chat', once);
  client.subscribe('chat', () => heard.push('next'));

  say(net, 'chat');
  say(net, 'chat');

  assert.deepEqual(heard, ['once', 'next', 'next']);
});

test('a subscriber that takes others away stops them at once, and skips nobody else', () => {
  const { client, net } = connected();
  const heard = [];
  const [a, c, d] = ['a', 'c', 'd'].map((name) => () => heard.push(name));
  const b = () => {
    heard.push('b');
    client.unsubscribe('chat', a);
    client.unsubscribe('chat', c);
  };
  [a, b, c, d].forEach((call) => client.subscribe('chat', call));

  say(net, 'chat');

  assert.deepEqual(heard, ['a', 'b', 'd']);
});

test('a subscriber that comes while others are called hears from the next message on', () => {
  const { client, net } = connected();
  const heard = [];
  client.subscribe('chat', () => client.subscribe('chat', () => heard.push('new')));

  say(net, 'chat');
  assert.deepEqual(heard, []);

  say(net, 'chat');
  assert.deepEqual(heard, ['new']);
});

test('a subscriber that raises harms nobody, and the error is reported', (t) => {
  const { client, net } = connected();
  const report = t.mock.method(console, 'error', () => {});
  const heard = [];
  client.subscribe('chat', () => {
    throw new Error('mine');
  });
  client.subscribe('chat', (data) => heard.push(data));

  say(net, 'chat', 1);

  assert.deepEqual(heard, [1]);
  assert.equal(report.mock.calls[0].arguments[0].message, 'mine');
});

test('subscriptions outlive the connection', async () => {
  const { client, net, clock, up } = connected();
  const heard = [];
  client.subscribe('chat', (data) => heard.push(data));

  net.last.end();
  await clock.advance(500);
  up();
  say(net, 'chat', 1);

  assert.deepEqual(heard, [1]);
});

test('with a messageCallback everything is heard raw, and requests and events work', async () => {
  const raw = [];
  const { client, net, diary } = connected({ messageCallback: (event) => raw.push(JSON.parse(event.data).msgtype) });

  const answer = client.request('echo', 1);
  net.last.hear({ msgtype: 'heartbeat' }).hear({ task: 'echo', id: net.last.said().id, data: 1 });
  say(net, 'chat', 2);

  assert.equal(await answer, 1);
  assert.deepEqual(raw, ['welcome', 'heartbeat', undefined, undefined]);
  assert.equal(diary.message.length, 1);
});

test('a messageCallback that closes the client hears nothing more', () => {
  const raw = [];
  const hear = (event) => raw.push(event) > 1 && client.close();
  const { client, net, diary } = connected({ messageCallback: hear });

  net.last.hear({ task: 'chat' }).hear({ task: 'chat' });

  assert.equal(raw.length, 2);
  assert.deepEqual(diary.message, []);
});

// -- errors and events -----------------------------------------------------------------------------------------------

test('an error of the server that answers no request is an event', () => {
  const { net, diary } = connected();

  net.last.hear({ task: 'nosuch', error: { code: 'unknown-task', message: 'there is no task' } });

  assert.equal(diary.error.length, 1);
  const { code, message, temporary, task } = diary.error[0];
  assert.deepEqual({ code, message, temporary, task }, {
    code: 'unknown-task', message: 'there is no task', temporary: false, task: 'nosuch',
  });
});

test('an error that nobody hears is a warning on the console', (t) => {
  const warn = t.mock.method(console, 'warn', () => {});
  const { net, clock, page } = make({ connect: false });
  const client = new Zephclient({ url: 'ws://server/', WebSocket: net.WebSocket, clock, page });
  const tell = () => net.last.hear({ task: 'a', error: { code: 'overloaded', message: 'later' } });
  net.last.open().welcome();

  tell();
  const off = client.on('error', () => {});
  tell();
  assert.deepEqual(warn.mock.calls.map((call) => call.arguments), [['zephclient: later (overloaded)']]);

  off();
  tell();
  assert.equal(warn.mock.callCount(), 2);
});

test('what is no message is told, and the connection lives', () => {
  const { client, net, diary } = connected();

  for (const text of ['', 'hello', '5', 'null', '{']) net.last.hear(text);

  assert.deepEqual(diary.error.map((error) => error.code), Array(5).fill('bad-message'));
  net.last.hear([]).hear({}).hear({ msgtype: 'from the future' }).hear({ task: 5 });
  assert.equal(client.state, 'connected');
});

test('events are heard until off, and a name that is none is refused', () => {
  const { client, net } = connected();
  const heard = [];
  const one = (value) => heard.push(value.task);
  client.on('message', one);
  const off = client.on('message', one);

  say(net, 'a');
  off();
  say(net, 'b');
  assert.equal(client.off('message', one), true);
  assert.equal(client.off('message', one), false);
  say(net, 'c');

  assert.deepEqual(heard, ['a', 'a', 'b']);
  assert.throws(() => client.on('messages', one), /no event messages; there are: state, welcome/);
});

test('events come in the order in which things happened, also those that a listener causes', () => {
  const { client, net, diary } = make();
  const first = [];
  const second = [];
  client.on('state', ({ state }) => {
    first.push(state);
    if (state === 'connected') client.close();
  });
  client.on('state', ({ state }) => second.push(state));

  net.last.open().welcome();

  assert.deepEqual(first, ['connected', 'closed']);
  assert.deepEqual(second, ['connected', 'closed']);
  assert.deepEqual(diary.welcome, []);
});
