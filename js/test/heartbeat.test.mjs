import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connected } from './fakes.mjs';

const pings = (net) => net.last.sent.filter((message) => message.task === 'TaskPing').length;
const beat = (net) => net.last.hear({ msgtype: 'heartbeat' });

test('nothing heard for one and a half heartbeats and 5 s is an end', async () => {
  const { net, clock, diary } = connected(); // heartbeat 20 s

  await clock.advance(34_999);
  assert.equal(diary.state.at(-1).state, 'connected');
  await clock.advance(1);

  const { state, code, reason, retryIn } = diary.state.at(-1);
  assert.deepEqual({ state, code, reason, retryIn }, {
    state: 'waiting', code: null, reason: 'nothing was heard for 35 s', retryIn: 500,
  });
  assert.equal(net.last.readyState, 2);
});

test('whatever is heard counts', async () => {
  const { client, net, clock } = connected();

  for (let n = 0; n < 20; n++) {
    await clock.advance(30_000);
    if (n % 2) beat(net);
    else net.last.hear({ task: 'chat' });
  }

  assert.equal(client.state, 'connected');
});

test('a heartbeat is no message', () => {
  const { net, diary } = connected();

  beat(net);

  assert.deepEqual(diary.message, []);
});

test('the longest silence is an option', async () => {
  const { client, clock } = connected({ silence: 1000 });

  await clock.advance(1000);

  assert.equal(client.state, 'waiting');
});

test('a server that promises no heartbeat may be silent', async () => {
  const { net, clock, up, client } = connected();
  net.last.end();
  await clock.advance(500);
  up({ heartbeat: undefined });

  await clock.advance(3_600_000);

  assert.equal(client.state, 'connected');
});

test('a ping is sent after 45 s, only when nothing else was', async () => {
  const { client, net, clock } = connected({ silence: 1e9 });

  await clock.advance(44_999);
  assert.equal(pings(net), 0);
  await clock.advance(1);
  assert.equal(pings(net), 1);

  await clock.advance(30_000);
  client.send('chat');
  await clock.advance(44_999);
  assert.equal(pings(net), 1);
  await clock.advance(1);
  assert.equal(pings(net), 2);
});

test('the interval of pings is an option, and 0 is never', async () => {
  const often = connected({ silence: 1e9, pingInterval: 10_000 });
  await often.clock.advance(35_000);
  assert.equal(pings(often.net), 3);

  const never = connected({ silence: 1e9, pingInterval: 0 });
  await never.clock.advance(3_600_000);
  assert.equal(pings(never.net), 0);
});

test('the answer to a ping is for nobody, an error too', async () => {
  const { client, net, clock, diary } = connected({ silence: 1e9 });
  client.subscribe('TaskPing', () => assert.fail('it was heard'));
  await clock.advance(45_000);
  const { id } = net.last.said();

  net.last.hear({ task: 'TaskPing', id, data: 'pong' });
  net.last.hear({ task: 'TaskPing', id, error: { code: 'overloaded', message: '' } });

  assert.deepEqual([diary.message, diary.error], [[], []]);
});

test('after a sleep the server is asked before it is given up', async () => {
  const { client, net, clock } = connected();

  clock.sleep(600_000);
  await clock.advance(0); // the timer rings ten minutes late
  assert.equal(client.state, 'connected');
  assert.equal(pings(net), 1);
  beat(net); // what had waited behind the timer
  await clock.advance(20_000);

  assert.equal(client.state, 'connected');
});

test('after a sleep that killed the connection it is given up 5 s later', async () => {
  const { client, net, clock } = connected();

  clock.sleep(600_000);
  await clock.advance(4999);
  assert.equal(client.state, 'connected');
  await clock.advance(1);

  assert.equal(client.state, 'waiting');
  assert.equal(net.last.readyState, 2);
});

test('a hidden page whose timers ring late loses nothing while messages come', async () => {
  const { client, net, clock } = connected();

  for (let minute = 0; minute < 60; minute++) {
    for (let n = 0; n < 3; n++) {
      clock.sleep(20_000); // no timer rings
      beat(net);
    }
    await clock.advance(0); // once a minute they all do
  }

  assert.equal(client.state, 'connected');
  assert.equal(net.sockets.length, 1);
});

test('a page that wakes up looks at the time: long silence is a doubt, short silence is none', async () => {
  const { client, net, clock, page } = connected();

  clock.sleep(30_000);
  page.show('visible');
  assert.equal(pings(net), 0);
  clock.sleep(10_000);
  page.show('visible');
  page.tell('online');
  assert.equal(pings(net), 1);
  await clock.advance(5000);

  assert.equal(client.state, 'waiting');
});

test('a clock that is set back harms nothing', async () => {
  const { client, net, clock } = connected();
  clock.sleep(-3_600_000);

  await clock.advance(34_000);
  beat(net);
  await clock.advance(34_000);

  assert.equal(client.state, 'connected');
});

test('a ping that cannot be sent does not make the timer turn in circles', async () => {
  const { net, clock } = connected({ silence: 1e9 });
  net.last.readyState = 2;

  await clock.advance(300_000);

  assert.equal(pings(net), 0);
});
