import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, make, outcome, settled } from './fakes.mjs';

const tasks = (net) => net.last.sent.filter((message) => message.task).map((message) => message.task);

test('what is said before the welcome waits for it, and goes out in order behind the rooms', () => {
  const { client, net } = make({ rooms: ['news'] });

  assert.equal(client.send('a'), true);
  client.request('b').catch(() => {});
  assert.equal(client.send('c'), true);
  net.last.open();
  client.send('d');
  assert.deepEqual(net.last.sent, [{ session_id: null, room: 'lobby' }]);

  net.last.welcome();
  client.send('e');

  const said = net.last.sent.slice(1).map((message) => message.task ?? `${message.msgtype} ${message.room}`);
  assert.deepEqual(said, ['join news', 'a', 'b', 'c', 'd', 'e']);
});

test('of 200 messages the first 100 wait, and send tells it of each', () => {
  const { client, net, up } = make();

  const answers = Array.from({ length: 200 }, (_, n) => client.send(`t${n}`));
  up();

  assert.deepEqual(answers, [...Array(100).fill(true), ...Array(100).fill(false)]);
  assert.deepEqual(tasks(net), Array.from({ length: 100 }, (_, n) => `t${n}`));
});

test('256 KB may wait, counted as UTF-8', () => {
  const { client } = make();
  const large = '\u20ac'.repeat(40_000); // 120,000 bytes

  assert.deepEqual([client.send('a', large), client.send('b', large), client.send('c', large)], [true, true, false]);
  assert.equal(client.send('small'), true);
});

test('what was sent, aborted or too old takes no room any more', async () => {
  const { client, clock, diary, up, net } = make({ queue: { bytes: 100, age: 1000 } });
  const fill = () => client.send('a', 'x'.repeat(70));
  assert.deepEqual([fill(), fill()], [true, false]);
  await clock.advance(1000);
  assert.equal(diary.error.length, 1);
  assert.deepEqual([fill(), fill()], [true, false]);
  up();
  net.last.end();
  assert.deepEqual([fill(), fill()], [true, false]);
  await clock.advance(1000);

  const control = new AbortController();
  const answer = outcome(client.request('a', 'x'.repeat(60), { signal: control.signal }));
  assert.equal(fill(), false);
  control.abort();

  assert.equal((await answer).error.code, 'aborted');
  assert.equal(fill(), true);
});

test('a request that waited and was sent fails when the connection breaks', async () => {
  const { client, net, up } = make();
  const answer = client.request('a');
  up();

  net.last.end();

  assert.equal((await outcome(answer)).error.code, 'connection-lost');
});

test('a request that finds the queue full is refused', async () => {
  const { client } = make({ queue: { messages: 1 } });
  client.send('a');

  const { error } = await outcome(client.request('b'));

  assert.deepEqual([error.code, error.temporary], ['queue-full', true]);
});

test('after 30 seconds a message is dropped, and an event has it', async () => {
  const { client, net, clock, diary, up } = make({ connectTimeout: 1e6 });
  client.send('old', 1);
  await clock.advance(10_000);
  client.send('young', 2);

  await clock.advance(19_999);
  assert.deepEqual(diary.error, []);
  await clock.advance(1);

  assert.deepEqual(diary.error.map(({ code, temporary, dropped }) => ({ code, temporary, dropped })), [
    { code: 'expired', temporary: true, dropped: [{ task: 'old', data: 1 }] },
  ]);
  up();
  assert.deepEqual(tasks(net), ['young']);
  await clock.advance(60_000);
  assert.equal(diary.error.length, 1);
});

test('each message expires at its own time', async () => {
  const { client, clock, diary } = make({ connectTimeout: 1e6 });
  for (let n = 0; n < 3; n++) {
    client.send(`t${n}`);
    await clock.advance(1000);
  }

  await clock.advance(30_000);

  assert.deepEqual(diary.error.map(({ dropped }) => dropped[0].task), ['t0', 't1', 't2']);
});

test('what is too old when the connection comes is not sent, whatever the timers did', async () => {
  const { client, net, clock, diary, up } = make({ connectTimeout: 1e6 });
  client.send('old');

  clock.sleep(31_000);
  up();
  await settled();

  assert.deepEqual(tasks(net), []);
  assert.equal(diary.error[0].code, 'expired');
});

test('what is too old makes room, whatever the timers did', async () => {
  const { client, clock, diary } = make({ queue: { messages: 1 } });
  client.send('old');

  clock.sleep(31_000);

  assert.equal(client.send('new'), true);
  await settled();
  assert.equal(diary.error[0].dropped[0].task, 'old');
});

test('a request waits until its own time is over, and is not sent afterwards', async () => {
  const { client, net, clock, up } = make({ connectTimeout: 1e6 });
  const quick = client.request('quick', null, { timeout: 1000 });
  const patient = client.request('patient', null, { timeout: 60_000 });
  const control = new AbortController();
  const unwanted = client.request('unwanted', null, { signal: control.signal });

  const refused = Promise.allSettled([quick, unwanted]);

  control.abort();
  await clock.advance(40_000);
  up();

  assert.deepEqual((await refused).map(({ reason }) => reason.code), ['timeout', 'aborted']);
  assert.deepEqual(tasks(net), ['patient']);
  net.last.hear({ task: 'patient', id: net.last.said().id, data: 1 });
  assert.equal(await patient, 1);
});

test('requests that wait in the queue survive attempts that fail', async () => {
  const { client, net, clock, up } = make();
  const answer = client.request('a');

  net.last.end();
  await clock.advance(500);
  net.last.open().end();
  await clock.advance(500);
  up();
  net.last.hear({ task: 'a', id: net.last.said().id, data: 1 });

  assert.equal(await answer, 1);
});

test('a message for a socket that is just closing waits for the next one', async () => {
  const { client, net, clock, up } = connected();
  net.last.readyState = 2; // the close frame came, its event has not

  assert.equal(client.send('a'), true);
  net.last.end(1001);
  await clock.advance(500);
  up();

  assert.deepEqual(tasks(net), ['a']);
});

test('what was flushed is not sent again after the next break', async () => {
  const { client, net, clock, up } = make();
  client.send('a');
  up();
  net.last.end();
  await clock.advance(500);
  up();

  assert.deepEqual(tasks(net), []);
});

test('close() throws the queue away; an end that the server wanted tells what was in it', async () => {
  const one = make();
  one.client.send('a');
  one.client.close();
  await settled();
  assert.deepEqual(one.diary.error, []);

  const two = make();
  two.client.send('a', 1);
  two.client.request('b').catch(() => {});
  two.net.last.open().end(4003, 'log in first');
  await settled();
  assert.deepEqual(two.diary.error.map(({ code, closeCode, dropped }) => ({ code, closeCode, dropped })), [
    { code: 'closed', closeCode: 4003, dropped: [{ task: 'a', data: 1 }] },
  ]);
});

test('a client that is closed has no timers left', async () => {
  const { client, clock, page, up } = make();
  client.send('a');
  client.request('b').catch(() => {});
  client.close();
  assert.equal(clock.timers, 0);

  client.connect();
  up();
  client.close();
  assert.deepEqual([clock.timers, page.ears], [0, 0]);
});
