import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, make, outcome } from './fakes.mjs';

const EPOCH = '1f6a2b';
const joined = (net, room, more) => net.last.hear({ msgtype: 'joined', room, ...more });
const said = (net, room, offset, data = offset) => net.last.hear({ task: 'chat', data, room, offset });
const asked = (net) => net.last.sent.filter(({ msgtype }) => msgtype).map(({ msgtype, room }) => `${msgtype} ${room}`);

/** Connected, in "lobby", which has a history, and has read it up to 41. */
function reading(options) {
  const made = connected(options);
  const heard = [];
  made.client.subscribe('chat', (data) => heard.push(data));
  joined(made.net, 'lobby', { epoch: EPOCH, offset: 41 });
  const back = async () => {
    made.net.last.end();
    await made.clock.advance(500);
    return made.up();
  };
  return { ...made, heard, back };
}

test('all rooms are joined again, the first by the first message', async () => {
  const { client, net, clock, up } = connected({ room: undefined, rooms: ['a', 'b', 'c'] });
  client.leave('a');

  net.last.end();
  await clock.advance(500);
  up();

  assert.equal(net.last.sent[0].room, 'b');
  assert.deepEqual(asked(net), ['join c']);
});

test('a room that is refused for now is tried again, and joined when it has room', async () => {
  const { client, net, clock, diary, up } = connected({ silence: 1e9 });
  joined(net, 'lobby');
  net.last.end();
  await clock.advance(500);
  up();

  net.last.hear({ task: '', room: 'lobby', error: { code: 'room-full', message: 'full' } });
  assert.equal(diary.error[0].code, 'room-full');
  await clock.advance(1000);
  const { id } = net.last.said();
  assert.deepEqual(asked(net), ['join lobby']);
  net.last.hear({ task: '', id, room: 'lobby', error: { code: 'room-full', message: 'full' } });
  await clock.advance(1000);
  joined(net, 'lobby', { id: net.last.said().id });

  assert.equal((await client.join('lobby')).joined, true);
  assert.equal(clock.timers, 2); // silence and ping
});

test('a room that is tried again is asked for once by the next connection', async () => {
  const { net, clock, up } = connected();
  net.last.hear({ task: '', room: 'lobby', error: { code: 'room-full', message: 'full' } });

  net.last.end();
  await clock.advance(500);
  up();
  await clock.advance(5000);

  assert.deepEqual(net.last.sent, [{ session_id: null, room: 'lobby' }]);
});

test('a refused room is not asked for after it was left, or when the connection is gone', async () => {
  const { client, net, clock } = connected();
  net.last.hear({ task: '', room: 'lobby', error: { code: 'overloaded', message: '' } });
  client.leave('lobby');
  await clock.advance(1000);

  assert.deepEqual(asked(net), ['leave lobby']);
});

test('after a break one is in no room until the server says so', async () => {
  const { client, net, clock, up } = connected();
  joined(net, 'lobby');
  const room = await client.join('lobby');

  net.last.end();
  const promise = client.join('lobby');
  assert.equal(room.joined, false);
  await clock.advance(500);
  up();
  assert.equal(await outcome(promise), 'pending');
  joined(net, 'lobby');

  assert.equal(await promise, room);
});

test('after a break the epoch and the highest offset are told, and recovered says how many are coming', async () => {
  const { net, heard, diary, back } = reading();
  said(net, 'lobby', 42);
  assert.deepEqual(diary.recovered, []);

  await back();
  assert.deepEqual(net.last.sent[0], { session_id: null, room: 'lobby', epoch: EPOCH, offset: 42 });
  joined(net, 'lobby', { epoch: EPOCH, offset: 44, recovered: true });
  [43, 44, 45].forEach((offset) => said(net, 'lobby', offset));

  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: true, missed: 2 }]);
  assert.deepEqual(heard, [42, 43, 44, 45]);
});

test('a break in the middle of a recovery loses nothing and doubles nothing', async () => {
  const { net, heard, back } = reading();
  await back();
  joined(net, 'lobby', { epoch: EPOCH, offset: 44, recovered: true });
  said(net, 'lobby', 42);

  await back();
  assert.equal(net.last.sent[0].offset, 42);
  joined(net, 'lobby', { epoch: EPOCH, offset: 44, recovered: true });
  [43, 44].forEach((offset) => said(net, 'lobby', offset));

  assert.deepEqual(heard, [42, 43, 44]);
});

test('a message that was seen is not delivered again', () => {
  const { net, heard, diary } = reading();

  [42, 42, 41, 1, 43, 43].forEach((offset) => said(net, 'lobby', offset));

  assert.deepEqual(heard, [42, 43]);
  assert.equal(diary.message.length, 2);
});

test('offsets are counted for each room', async () => {
  const { client, net, heard } = reading();
  client.join('news');
  joined(net, 'news', { id: net.last.said().id, epoch: 'other', offset: 3 });

  said(net, 'lobby', 42);
  said(net, 'news', 4);
  said(net, 'news', 4);

  assert.deepEqual(heard, [42, 4]);
});

test('a gap is none: what one said to all but oneself has an offset too', () => {
  const { net, heard } = reading();

  [42, 47, 45].forEach((offset) => said(net, 'lobby', offset));

  assert.deepEqual(heard, [42, 47]);
});

test('a room that was made anew counts from its own offset, and recovered is false', async () => {
  const { net, heard, diary, back } = reading();
  await back();

  joined(net, 'lobby', { epoch: 'new', offset: 2, recovered: false });
  [3, 3].forEach((offset) => said(net, 'lobby', offset));

  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: false, missed: null }]);
  assert.deepEqual(heard, [3]);
  await back();
  assert.deepEqual([net.last.sent[0].epoch, net.last.sent[0].offset], ['new', 3]);
});

test('a room without a history says recovered: false, so that the page fetches its state', async () => {
  const { net, clock, diary, up } = connected();
  joined(net, 'lobby');
  assert.deepEqual(diary.recovered, []);

  net.last.end();
  await clock.advance(500);
  up();
  joined(net, 'lobby');

  assert.deepEqual(net.last.sent, [{ session_id: null, room: 'lobby' }]);
  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: false, missed: null }]);
});

test('with recover: false nothing is asked for after a break', async () => {
  const { client, net, diary, back } = reading();
  await client.join('lobby', { recover: false });

  await back();
  assert.deepEqual(net.last.sent[0], { session_id: null, room: 'lobby' });
  joined(net, 'lobby', { epoch: EPOCH, offset: 50 });

  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: false, missed: null }]);
});

test('a page that was loaded anew may say how far it had read', async () => {
  const { client, net, diary, up } = make();
  const promise = client.join('lobby', { recover: { epoch: EPOCH, offset: 41 } });
  up();
  assert.deepEqual([net.last.sent[0].epoch, net.last.sent[0].offset], [EPOCH, 41]);

  joined(net, 'lobby', { epoch: EPOCH, offset: 42, recovered: true });
  said(net, 'lobby', 42);

  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: true, missed: 1 }]);
  const room = await promise;
  assert.deepEqual([room.epoch, room.offset], [EPOCH, 42]);
});

test('a history that begins anew under an open connection is told', () => {
  const { net, diary, heard } = reading();

  joined(net, 'lobby', { epoch: 'new', offset: 0 });
  said(net, 'lobby', 1);

  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: false, missed: null }]);
  assert.deepEqual(heard, [1]);
});

test('a join that was asked for twice tells nothing twice', () => {
  const { net, diary } = reading();

  joined(net, 'lobby', { epoch: EPOCH, offset: 41 });

  assert.deepEqual(diary.recovered, []);
});

test('close() and connect() come back into all rooms, and recover', async () => {
  const { client, net, up } = reading();
  client.join('news').catch(() => {});
  client.close();
  client.connect();
  up();

  assert.deepEqual([net.last.sent[0].room, net.last.sent[0].offset], ['lobby', 41]);
  assert.deepEqual(asked(net), ['join news']);
});

test('a history that goes on under another epoch loses nothing, here or at the next connection', async () => {
  const { net, heard, diary, back } = reading();
  joined(net, 'lobby', { epoch: 'fork', offset: 41, recovered: true }); // said to all who are in the room
  said(net, 'lobby', 42);
  assert.deepEqual(diary.recovered, []);

  await back();
  assert.deepEqual([net.last.sent[0].epoch, net.last.sent[0].offset], ['fork', 42]);
  joined(net, 'lobby', { epoch: 'fork of the fork', offset: 43, recovered: true });
  said(net, 'lobby', 43);
  assert.deepEqual(diary.recovered, [{ room: 'lobby', recovered: true, missed: 1 }]);

  await back();
  assert.deepEqual([net.last.sent[0].epoch, net.last.sent[0].offset], ['fork of the fork', 43]);
  assert.deepEqual(heard, [42, 43]);
});
