import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, make, outcome, settled } from './fakes.mjs';

const joined = (net, room, more) => net.last.hear({ msgtype: 'joined', room, ...more });
const said = (net, room, offset, data = offset) => net.last.hear({ task: 'chat', data, room, offset });
const asked = (net) => net.last.sent.filter(({ msgtype }) => msgtype).map(({ msgtype, room }) => `${msgtype} ${room}`);

// -- join, leave -----------------------------------------------------------------------------------------------------

test('join asks the server and gives a room when one is in', async () => {
  const { client, net } = connected();

  const promise = client.join('news');
  const { id, ...message } = net.last.said();
  assert.deepEqual(message, { msgtype: 'join', room: 'news' });
  assert.equal(await outcome(promise), 'pending');
  joined(net, 'news', { id });
  const room = await promise;

  assert.deepEqual([room.name, room.joined, client.rooms], ['news', true, ['lobby', 'news']]);
  assert.equal(await client.join('news'), room);
  assert.deepEqual(asked(net), ['join news']);
});

test('the room of the constructor is joined by the first message; join() waits for it', async () => {
  const { client, net } = make();
  const promise = client.join('lobby');
  net.last.open().welcome();
  assert.equal(net.last.sent.length, 1);

  joined(net, 'lobby');

  assert.equal((await promise).name, 'lobby');
});

test('two that join the same room wait for one answer', async () => {
  const { client, net } = connected();

  const promises = [client.join('news'), client.join('news')];
  joined(net, 'news', { id: net.last.said().id });

  const [one, two] = await Promise.all(promises);
  assert.equal(one, two);
  assert.deepEqual(asked(net), ['join news']);
});

test('a room that is joined without a connection is joined when there is one', async () => {
  const { client, net, up } = make();

  const promise = client.join('news');
  up();
  joined(net, 'news', { id: net.last.said().id });

  assert.equal((await promise).joined, true);
});

test('a join that is refused is told with the code, and the room is forgotten', async () => {
  const { client, net, clock, diary, up } = connected();

  const promise = client.join('secret');
  const { id } = net.last.said();
  net.last.hear({ task: '', id, room: 'secret', error: { code: 'access-denied', message: 'not for you' } });

  const { error } = await outcome(promise);
  assert.deepEqual([error.code, error.room, error.temporary], ['access-denied', 'secret', false]);
  assert.deepEqual([client.rooms, diary.error], [['lobby'], []]);
  net.last.end();
  await clock.advance(500);
  up();
  assert.deepEqual(asked(net), []);
});

test('a first room that is refused is an event', () => {
  const { client, net, diary } = connected();

  net.last.hear({ task: '', room: 'lobby', error: { code: 'access-denied', message: 'not for you' } });

  assert.deepEqual(diary.error.map(({ code, room }) => [code, room]), [['access-denied', 'lobby']]);
  assert.deepEqual(client.rooms, []);
});

test('a room needs a name, and a closed client joins nothing', async () => {
  const { client } = connected();

  await assert.rejects(client.join(''), /a room has a name/);
  await assert.rejects(client.join(), /a room has a name/);
  await assert.rejects(client.presence(), /a room has a name/);
  client.close();
  assert.equal((await outcome(client.join('news'))).error.code, 'closed');
});

test('who waits for a room when the client is closed is told', async () => {
  const { client } = connected();
  const promise = client.join('news');

  client.close();

  assert.equal((await outcome(promise)).error.code, 'closed');
});

test('leave tells the server, and the room is not joined again', async () => {
  const { client, net, clock, up } = connected();
  joined(net, 'lobby');
  const room = await client.join('lobby');

  const promise = room.leave();
  const { id, ...message } = net.last.said();
  assert.deepEqual(message, { msgtype: 'leave', room: 'lobby' });
  assert.equal(await outcome(promise), 'pending');
  net.last.hear({ msgtype: 'left', room: 'lobby', id });

  assert.deepEqual(await outcome(promise), { value: undefined });
  assert.deepEqual([room.joined, client.rooms], [false, []]);
  net.last.end();
  await clock.advance(500);
  up();
  assert.deepEqual(net.last.sent, [{ session_id: null }]);
});

test('leave never rejects: without a connection, without an answer, from a room one is not in', async () => {
  const { client, net, clock } = connected();
  await client.leave('nosuch');
  const broken = client.leave('lobby');
  net.last.end();
  await broken;
  await clock.advance(0);
  client.join('news').catch(() => {});
  await client.leave('news');

  assert.deepEqual(client.rooms, []);
});

test('a join that is taken back by leave says so, and its late answer changes nothing', async () => {
  const { client, net } = connected();
  const promise = client.join('news');
  const { id } = net.last.said();

  client.leave('news');
  joined(net, 'news', { id });

  assert.equal((await outcome(promise)).error.code, 'aborted');
  assert.deepEqual(client.rooms, ['lobby']);
});

test('leave and join in one breath end inside, whatever order the answers have', async () => {
  const { client, net } = connected();
  const first = client.join('news');
  const one = net.last.said().id;
  first.catch(() => {});
  client.leave('news');
  const two = net.last.said().id;
  const second = client.join('news');
  const three = net.last.said().id;

  joined(net, 'news', { id: one });
  assert.equal(await outcome(second), 'pending');
  net.last.hear({ msgtype: 'left', room: 'news', id: two });
  joined(net, 'news', { id: three });

  assert.equal((await second).joined, true);
});

test('a first room that is left before the welcome is left after it', async () => {
  const { client, net } = make();
  net.last.open();

  await client.leave('lobby');
  net.last.welcome();

  assert.deepEqual(net.last.said(), { msgtype: 'leave', room: 'lobby' });
  joined(net, 'lobby');
  assert.deepEqual(client.rooms, []);
});

test('a first room that is left and joined again before the welcome is joined', async () => {
  const { client, net } = make();
  net.last.open();
  client.leave('lobby');
  const promise = client.join('lobby');

  net.last.welcome();
  joined(net, 'lobby');
  joined(net, 'lobby', { id: net.last.said().id });

  assert.equal((await promise).joined, true);
  assert.deepEqual(client.rooms, ['lobby']);
});

// -- who is there ----------------------------------------------------------------------------------------------------

test('presence asks for the names', async () => {
  const { client, net, diary } = connected();
  joined(net, 'lobby');
  const room = await client.join('lobby');

  const names = room.presence();
  const { id, ...message } = net.last.said();
  assert.deepEqual(message, { msgtype: 'user_list', room: 'lobby' });
  net.last.hear({ msgtype: 'user_list', id, room: 'lobby', data: ['ann', 'bob'], total: 2 });

  assert.deepEqual(await names, ['ann', 'bob']);
  assert.deepEqual(room.users, ['ann', 'bob']);
  assert.deepEqual(diary.presence, []);
});

test('presence of a room that one is not in is refused', async () => {
  const { client, net } = connected();

  const names = client.presence('secret', { timeout: 50 });
  const { id } = net.last.said();
  net.last.hear({ task: '', id, error: { code: 'access-denied', message: 'you are not in it' } });

  assert.equal((await outcome(names)).error.code, 'access-denied');
});

test('who comes and goes is told live, and kept', async () => {
  const { client, net, diary } = connected();
  joined(net, 'lobby');
  const room = await client.join('lobby');
  net.last.hear({ msgtype: 'user_list', room: 'lobby', data: ['ann'], total: 1 });
  net.last.hear({ msgtype: 'join', room: 'lobby', username: 'bob' });
  assert.deepEqual([room.users, room.total], [['ann', 'bob'], 2]);
  net.last.hear({ msgtype: 'leave', room: 'lobby', username: 'ann' });
  assert.deepEqual([room.users, room.total], [['bob'], 1]);
  net.last.hear({ msgtype: 'user_list', room: 'lobby', data: ['bob'], total: 600 });
  assert.equal(room.total, 600);

  assert.deepEqual(diary.presence, [
    { room: 'lobby', type: 'list', users: ['ann'], total: 1 },
    { room: 'lobby', type: 'join', username: 'bob' },
    { room: 'lobby', type: 'leave', username: 'ann' },
    { room: 'lobby', type: 'list', users: ['bob'], total: 600 },
  ]);
});

test('an old server that names no room or total is heard as well', () => {
  const { net, diary } = connected();

  net.last.hear({ msgtype: 'join', username: 'bob' }).hear({ msgtype: 'user_list', data: ['ann', 'bob'] });

  assert.deepEqual(diary.presence.map(({ type, total }) => [type, total]), [['join', undefined], ['list', 2]]);
});

// -- the Room --------------------------------------------------------------------------------------------------------

test("a room has the client's verbs for itself", async () => {
  const { client, net } = connected();
  client.join('news');
  joined(net, 'news', { id: net.last.said().id });
  const room = await client.join('news');
  const [data, events] = [[], []];
  const off = room.subscribe('chat', (value) => data.push(value));
  const offEvents = room.on('presence', (event) => events.push(event.username));

  said(net, 'news', undefined, 'mine');
  said(net, 'lobby', undefined, 'other');
  net.last.hear({ msgtype: 'join', room: 'news', username: 'bob' });
  net.last.hear({ msgtype: 'join', room: 'x', username: 'eve' });
  off();
  offEvents();
  said(net, 'news', undefined, 'late');
  net.last.hear({ msgtype: 'join', room: 'news', username: 'late' });

  assert.deepEqual([data, events], [['mine'], ['bob']]);
  assert.equal(room.send('chat', 1), true);
  assert.deepEqual(net.last.said(), { task: 'chat', data: 1, room: 'news' });
  const answer = room.request('echo', 2, { timeout: 100 });
  const { id, ...message } = net.last.said();
  assert.deepEqual(message, { task: 'echo', data: 2, room: 'news' });
  net.last.hear({ task: 'echo', id, data: 2 });
  assert.equal(await answer, 2);
  await settled();
});
