import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected, make, outcome, settled } from './fakes.mjs';

/** The waiting times of n failures in a row. */
async function delays(made, n) {
  const { net, clock, diary } = made;
  for (let count = 0; count < n; count++) {
    net.last.end();
    await clock.advance(diary.state.at(-1).retryIn);
  }
  return diary.state.filter(({ state }) => state === 'waiting').map(({ retryIn }) => retryIn);
}

test('the state event tells every step, and why', async () => {
  const { net, clock, diary, up, client } = make();
  up();
  net.last.end(1001, 'moving');
  await clock.advance(500);
  up();
  client.close();

  assert.deepEqual(diary.state, [
    { state: 'connected', previous: 'connecting', code: null, reason: '', retryIn: null, attempt: 1 },
    { state: 'waiting', previous: 'connected', code: 1001, reason: 'moving', retryIn: 500, attempt: 1 },
    { state: 'connecting', previous: 'waiting', code: null, reason: '', retryIn: null, attempt: 2 },
    { state: 'connected', previous: 'connecting', code: null, reason: '', retryIn: null, attempt: 2 },
    { state: 'closed', previous: 'connected', code: 1000, reason: '', retryIn: null, attempt: 2 },
  ]);
  assert.equal(diary.welcome.length, 2);
  assert.equal(diary.welcome[0].heartbeat, 20);
});

test('with bad luck the pauses double from 1 s to 20 s', async () => {
  const made = make({}, { random: () => 1 });

  assert.deepEqual(await delays(made, 8), [1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000]);
});

test('with good luck each pause is half a second: full jitter', async () => {
  assert.deepEqual(await delays(make({}, { random: () => 0 }), 4), [500, 500, 500, 500]);
});

test('the bounds are options', async () => {
  assert.deepEqual(await delays(make({ minDelay: 10, maxDelay: 30 }, { random: () => 1 }), 3), [20, 30, 30]);
});

test('a connection that held makes the next pause short again; one that broke at once does not', async () => {
  const made = make({}, { random: () => 1 });
  await delays(made, 4);
  made.up();
  assert.equal((await delays(made, 1)).at(-1), 16_000);

  made.up();
  await made.clock.advance(5000);
  assert.equal((await delays(made, 1)).at(-1), 1000);
  assert.equal(made.diary.state.at(-1).attempt, 1);
});

test('a server that stops says when to come back, and some chance is added', async () => {
  const { net, clock, diary } = connected({}, { random: () => 0.5 });

  net.last.end(1012, '{"retry_after": 7}');

  assert.equal(diary.state.at(-1).retryIn, 7000 + 750);
  await clock.advance(7749);
  assert.equal(net.sockets.length, 1);
  await clock.advance(1);
  assert.equal(net.sockets.length, 2);
});

for (const [reason, least] of [
  ['', 0],
  ['words', 0],
  ['null', 0],
  ['{}', 0],
  ['{"retry_after": -5}', 0],
  ['{"retry_after": "x"}', 0],
  ['{"retry_after": 0.25}', 250],
  ['{"retry_after": 1e99}', 300_000],
]) {
  test(`1012 with the reason ${reason || 'nothing'} is at least ${least} ms`, () => {
    const { net, diary } = connected();

    net.last.end(1012, reason);

    assert.equal(diary.state.at(-1).retryIn, least + 500);
  });
}

test('advice is obeyed whatever the page does, but not when connect() is called', async () => {
  const { client, net, clock, page, diary } = connected();
  net.last.end(1012, '{"retry_after": 60}');

  page.show('visible');
  page.tell('online');
  await clock.advance(30_000);
  assert.equal(net.sockets.length, 1);
  page.show('visible');
  assert.equal(diary.state.at(-1).retryIn, 30_000);

  client.connect();
  assert.equal(net.sockets.length, 2);
});

for (const code of [4003, 4004, 4009]) {
  test(`after ${code} it stays away until connect() is called`, async () => {
    const { client, net, clock, page, diary, up } = connected();

    net.last.end(code, 'because');
    page.tell('online');
    page.show('visible');
    page.tell('pageshow');
    await clock.advance(3_600_000);

    assert.deepEqual([client.state, net.sockets.length, clock.timers], ['closed', 1, 0]);
    const { state, reason, retryIn } = diary.state.at(-1);
    assert.deepEqual([state, diary.state.at(-1).code, reason, retryIn], ['closed', code, 'because', null]);
    client.connect();
    up();
    assert.equal(client.state, 'connected');
    assert.equal(net.last.sent[0].room, 'lobby');
  });
}

for (const code of [1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 1013, 4001]) {
  test(`after ${code} it comes back`, async () => {
    const { net, clock, diary } = connected();

    net.last.end(code);

    assert.equal(diary.state.at(-1).retryIn, code === 1011 || code === 1013 ? 1500 : 500);
    await clock.advance(1500);
    assert.equal(net.sockets.length, 2);
  });
}

test('getToken is asked before each attempt, and may take its time', async () => {
  let n = 0;
  const { net, clock } = make({ getToken: async () => `token${++n}` });
  assert.equal(net.sockets.length, 0);

  await settled();
  net.last.open().welcome().end();
  await clock.advance(500);
  net.last.open();

  assert.deepEqual(net.sockets.map((socket) => socket.sent[0].session_id), ['token1', 'token2']);
});

test('after 4002 a new token is fetched at once; when that is refused too, there is no hurry', async () => {
  let n = 0;
  const { net, clock, diary } = make({ getToken: () => `token${++n}` });
  await settled();
  net.last.open().welcome();
  await clock.advance(60_000);
  net.last.hear({ msgtype: 'heartbeat' });

  for (let count = 0; count < 4; count++) {
    net.last.end(4002, 'fetch a new token');
    await clock.advance(diary.state.at(-1).retryIn);
    net.last.open();
  }

  const waits = diary.state.filter(({ state }) => state === 'waiting').map(({ retryIn }) => retryIn);
  assert.deepEqual(waits.slice(-4), [0, 500, 500, 500]);
  assert.equal(net.last.sent[0].session_id, `token${n}`);
});

test('a token that holds for a while may be renewed at once again and again', async () => {
  const { net, clock, diary } = make({ getToken: () => 'token', silence: 1e6 });
  for (let count = 0; count < 3; count++) {
    await clock.advance(0);
    net.last.open().welcome();
    await clock.advance(60_000);
    net.last.end(4002);
    assert.equal(diary.state.at(-1).retryIn, 0);
  }
});

test('4002 without getToken is an end: the same session would be refused again', () => {
  const { client, net } = connected({ session: 'old' });

  net.last.end(4002);
  assert.equal(client.state, 'closed');

  client.session = 'new';
  client.connect();
  assert.equal(net.last.open().sent[0].session_id, 'new');
});

test('a getToken that fails is asked again later; a fatal failure is an end', async () => {
  let fatal = false;
  const fail = () => Promise.reject(Object.assign(new Error('no luck'), { fatal }));
  const { client, net, clock, diary } = make({ getToken: fail });
  await settled();

  assert.equal(client.state, 'waiting');
  assert.deepEqual([diary.error[0].code, diary.error[0].temporary], ['token', true]);
  assert.equal(diary.error[0].message, 'getToken() failed: no luck');
  fatal = true;
  await clock.advance(500);

  assert.deepEqual([client.state, clock.timers, net.sockets.length], ['closed', 0, 0]);
  assert.deepEqual([diary.error[1].code, diary.error[1].temporary], ['token', false]);
});

test('a getToken that raises, or rejects with something plain, is no worse', async () => {
  const raising = make({ getToken: () => { throw new Error('at once'); } });
  const plain = make({ getToken: () => Promise.reject({ fatal: true }) });
  await settled();

  assert.equal(raising.client.state, 'waiting');
  assert.equal(plain.client.state, 'closed');
});

test('a token that comes after close() or after its attempt opens nothing', async () => {
  const waiting = [];
  const { client, net, clock } = make({ getToken: () => new Promise((resolve) => waiting.push(resolve)) });
  await clock.advance(20_000);
  assert.equal(client.state, 'waiting');
  await clock.advance(500);
  assert.equal(waiting.length, 2);

  waiting[0]('late');
  await settled();
  assert.equal(net.sockets.length, 0);
  client.close();
  waiting[1]('later');
  await settled();
  assert.equal(net.sockets.length, 0);
});

test('an attempt without a welcome is given up, and its socket closed', async () => {
  const { net, clock, diary } = make();
  net.last.open();

  await clock.advance(20_000);

  assert.equal(net.last.readyState, 2);
  assert.equal(diary.state.at(-1).reason, 'no welcome within 20 s');
  await clock.advance(500);
  assert.equal(net.sockets.length, 2);
});

test('an old socket that still speaks is not heard', async () => {
  const { net, clock, diary, up } = make();
  const old = net.last;
  const { onmessage, onclose, onopen } = old;
  await clock.advance(20_500);
  up();

  onopen({});
  onmessage({ data: '{"task": "ghost"}' });
  onclose({ code: 4003, reason: '' });

  assert.deepEqual(diary.message, []);
  assert.deepEqual(old.sent, []);
  assert.equal(net.last.readyState, 1);
});

test('an address that the WebSocket refuses is an end with an error', async () => {
  const made = make({ connect: false });
  made.net.refuses = new Error('insecure');

  made.client.connect();
  await settled();

  assert.deepEqual([made.client.state, made.diary.error[0].code], ['closed', 'cannot-connect']);
});

test('close() says good-bye with its code, and connect() is a new beginning', async () => {
  const { client, net, clock, up } = connected();

  client.close(4100, 'enough');
  assert.deepEqual(net.last.closed, { code: 4100, reason: 'enough' });
  client.close();
  await clock.advance(60_000);
  assert.equal(net.sockets.length, 1);

  client.connect();
  client.connect();
  up();
  assert.deepEqual([client.state, net.sockets.length], ['connected', 2]);
  assert.throws(() => client.close(1001), RangeError);
  assert.throws(() => client.close(4100, 'ü'.repeat(62)), RangeError); // 124 bytes: the browser would throw in the middle
  assert.equal(client.state, 'connected');
});

test('close() in the middle of an attempt closes its socket', () => {
  const { client, net } = make();

  client.close();

  assert.equal(net.last.readyState, 2);
  assert.equal(client.state, 'closed');
});

test('connect() while waiting waits no longer', () => {
  const { client, net } = connected();
  net.last.end();

  client.connect();

  assert.equal(net.sockets.length, 2);
});

test('a listener may close or connect at any step', async () => {
  for (const step of ['connecting', 'connected', 'waiting']) {
    const { client, net, clock, up } = connected();
    client.on('state', ({ state }) => state === step && client.close());
    net.last.end();
    await clock.advance(500);
    if (client.state === 'connecting') up();

    assert.equal(client.state, 'closed', step);
    assert.equal(net.open.length, 0, step);
  }
  const { client, net } = connected();
  client.on('state', ({ state }) => state === 'closed' && client.connect());
  net.last.end(4003);
  assert.equal(client.state, 'connecting');
  assert.equal(net.open.length, 1);
});

test('a request that is made by a listener of the end waits for the next connection', async () => {
  const { client, net, clock, up } = connected();
  let answer;
  client.on('state', ({ state }) => {
    if (state === 'waiting') answer = client.request('again');
  });

  net.last.end();
  await clock.advance(500);
  up();
  net.last.hear({ task: 'again', id: net.last.said().id, data: 1 });

  assert.deepEqual(await outcome(answer), { value: 1 });
});
