import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, make, outcome } from './fakes.mjs';

test('while the browser is offline it waits for the network, not for a time', async () => {
  const { net, clock, page, diary } = connected();
  page.navigator.onLine = false;
  net.last.end();

  assert.equal(diary.state.at(-1).retryIn, null);
  await clock.advance(3_600_000);
  assert.equal(net.sockets.length, 1);

  page.tell('online');
  assert.equal(net.sockets.length, 2);
});

test('going offline while waiting stops the countdown, and online tries at once', async () => {
  const { net, clock, page, diary } = connected({}, { random: () => 1 });
  net.last.end();
  assert.equal(diary.state.at(-1).retryIn, 1000);

  page.tell('offline');
  assert.deepEqual([diary.state.at(-1).state, diary.state.at(-1).retryIn, diary.state.at(-1).reason], [
    'waiting', null, 'offline',
  ]);
  await clock.advance(10_000);
  page.tell('online');

  assert.equal(net.sockets.length, 2);
  net.last.end();
  assert.equal(diary.state.at(-1).retryIn, 1000); // the failures were the network's
});

test('a browser that goes offline while the pause runs out waits on', async () => {
  const { net, clock, page, diary } = connected();
  net.last.end();
  page.navigator.onLine = false; // without an event

  await clock.advance(500);

  assert.equal(diary.state.at(-1).retryIn, null);
  assert.equal(net.sockets.length, 1);
});

test('offline while connected is a doubt: a ping is sent, and 5 s without an answer are an end', async () => {
  const { net, clock, page, diary } = connected();

  page.tell('offline');
  assert.equal(net.last.said().task, 'TaskPing');
  await clock.advance(4999);
  assert.equal(diary.state.at(-1).state, 'connected');
  await clock.advance(1);

  assert.deepEqual([diary.state.at(-1).state, diary.state.at(-1).retryIn], ['waiting', null]);
  assert.equal(net.open.length, 0);
});

test('a connection that answers although the browser is offline is kept', async () => {
  const { client, net, clock, page } = connected();

  page.tell('offline');
  await clock.advance(1000);
  net.last.hear({ task: 'TaskPing', id: net.last.said().id, data: 'pong' });
  await clock.advance(10_000);

  assert.equal(client.state, 'connected');
});

for (const url of ['ws://127.0.0.1:8080/ws', 'ws://localhost/ws', 'ws://[::1]:80/ws', 'ws://app.localhost/ws']) {
  test(`${url} is tried by a browser that always was offline`, async () => {
    const { net, clock, page } = make({ url });
    page.navigator.onLine = false;

    net.last.end();
    await clock.advance(500);

    assert.equal(net.sockets.length, 2);
  });
}

test('a server on this machine waits for the network when that went away, or for somebody who looks', async () => {
  const { net, clock, page } = make({ url: 'ws://localhost/ws' });
  net.last.open().welcome();
  page.tell('offline');
  net.last.end();
  await clock.advance(60_000);
  assert.equal(net.sockets.length, 1);

  page.show('visible');

  assert.equal(net.sockets.length, 2);
});

test('a page that is looked at again does not wait any longer', async () => {
  const { net, page } = connected({}, { random: () => 1 });
  net.last.end();

  page.show('hidden');
  assert.equal(net.sockets.length, 1);
  page.show('visible');

  assert.equal(net.sockets.length, 2);
});

test('pagehide says good-bye so that the page may be cached, and pageshow comes back', async () => {
  const { client, net, clock, page, diary, up } = connected();
  client.subscribe('chat', () => {});
  const answer = client.request('slow');

  page.tell('pagehide', { persisted: true });
  assert.deepEqual(net.last.closed, { code: 1000, reason: 'the page was left' });
  assert.deepEqual([client.state, diary.state.at(-1).retryIn], ['waiting', null]);
  assert.equal((await outcome(answer)).error.code, 'connection-lost');
  await clock.advance(60_000);
  page.tell('online');
  page.show('visible');
  assert.equal(net.sockets.length, 1);

  page.tell('pageshow', { persisted: true });
  assert.equal(net.sockets.length, 2);
  up();
  assert.equal(net.last.sent[0].room, 'lobby');
});

test('pagehide in the middle of an attempt, or of a pause, is no different', async () => {
  const attempt = make();
  attempt.page.tell('pagehide');
  assert.deepEqual([attempt.client.state, attempt.net.open.length], ['waiting', 0]);
  attempt.page.tell('pageshow');
  assert.equal(attempt.net.open.length, 1);

  const pause = connected();
  pause.net.last.end();
  pause.page.tell('pagehide');
  await pause.clock.advance(60_000);
  assert.equal(pause.net.sockets.length, 1);
  pause.page.tell('pageshow');
  assert.equal(pause.net.sockets.length, 2);
});

test('connect() forgets what the server said about coming back', () => {
  const { client, net, page } = connected();
  net.last.end(1012, '{"retry_after": 60}');

  client.connect();
  page.tell('pagehide');
  page.tell('pageshow');

  assert.equal(net.sockets.length, 3);
});

test('the pageshow of a page that was just loaded changes nothing', () => {
  const { client, net, page } = connected();

  page.tell('pageshow', { persisted: false });

  assert.deepEqual([client.state, net.sockets.length], ['connected', 1]);
  assert.equal(net.last.sent.length, 1);
});

test('a closed client does not listen to the page', () => {
  const { client, net, page } = connected();
  client.close();

  for (const name of ['pagehide', 'pageshow', 'online', 'offline']) page.tell(name);
  page.show('visible');

  assert.deepEqual([client.state, net.sockets.length, page.ears], ['closed', 1, 0]);
});

test('connect() listens once, however often it is called', () => {
  const { client, net, page } = connected();
  const ears = page.ears;

  net.last.end();
  client.connect();
  net.last.end();
  client.connect();

  assert.equal(page.ears, ears);
});
