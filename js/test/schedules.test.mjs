/** A thousand random lives of a client. Whatever happens, some things are always true. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TRANSITIONS } from '../src/link.js';
import { make, settled } from './fakes.mjs';

const SCHEDULES = 1000;
const STEPS = 100;
const LIMITS = { messages: 5, bytes: 400, age: 3000 };

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A server with one room "lobby" that keeps all its history, and does what the protocol says. */
class Server {
  epoch = 1;
  history = [];

  constructor(net) {
    this.net = net;
    this.member = null; // the socket that is in the room
    this.read = 0;
  }

  /** Answer what came since the last time, in order. */
  serve() {
    const socket = this.net.last;
    if (!socket || socket.readyState !== 1) return;
    if (socket !== this.socket) [this.socket, this.read] = [socket, 0];
    while (this.read < socket.sent.length && socket.readyState === 1) {
      const first = this.read === 0;
      const message = socket.sent[this.read++];
      if (first) socket.welcome();
      if (message.room === 'lobby' && (first || message.msgtype === 'join')) this.join(socket, message);
      else if (message.msgtype === 'leave') this.leave(socket, message);
      else if (message.id !== undefined) socket.hear({ task: message.task, id: message.id, data: message.data });
    }
  }

  join(socket, { id, epoch, offset }) {
    this.member = socket;
    const about = { epoch: String(this.epoch), offset: this.history.length };
    const wants = epoch !== undefined;
    const missed = epoch === about.epoch ? this.history.slice(offset) : null;
    socket.hear({ msgtype: 'joined', room: 'lobby', id, ...about, ...(wants && { recovered: missed !== null }) });
    if (missed) missed.forEach((message) => socket.hear(message));
  }

  leave(socket, { id }) {
    this.member = null;
    socket.hear({ msgtype: 'left', room: 'lobby', id });
  }

  speak() {
    const offset = this.history.length + 1;
    this.history.push({ task: 'news', room: 'lobby', data: `${this.epoch}:${offset}`, offset });
    if (this.member?.readyState === 1) this.member.hear(this.history.at(-1));
  }

  /** It is started anew. */
  restart() {
    if (this.net.open.length) this.net.last.end();
    this.epoch++;
    this.history = [];
  }
}

const CODES = [1000, 1001, 1006, 1006, 1006, 1009, 1011, 1012, 1013, 4001, 4002, 4003, 4004, 4009];

async function live(seed) {
  const chance = generator(seed);
  const pick = (list) => list[Math.floor(chance() * list.length)];
  const token = () => (chance() < 0.8 ? Promise.resolve('t') : Promise.reject(new Error('no')));
  const getToken = chance() < 0.3 ? token : undefined;
  const made = make({ queue: LIMITS, getToken }, { random: chance });
  const { client, net, clock, page, diary } = made;
  const server = new Server(net);
  const heard = [];
  let wholeSince = 0; // how much of `heard` belongs to the time since recovered was false
  let requests = 0;
  let settledRequests = 0;
  let accepted = 0;
  client.subscribe('news', (data) => heard.push(data));
  client.on('recovered', ({ recovered }) => {
    if (!recovered) wholeSince = heard.length;
  });

  const steps = {
    open: () => net.last?.readyState === 0 && net.last.open(),
    serve: () => server.serve(),
    speak: () => server.speak(),
    end: () => net.last?.readyState < 3 && net.last.closed === null && net.last.end(pick(CODES), '{"retry_after": 2}'),
    silent: () => net.last && (net.last.readyState = Math.max(2, net.last.readyState)),
    send: () => {
      const isTaken = client.send('t', accepted);
      if (isTaken) accepted++;
      if (client.state === 'closed') assert.equal(isTaken, false);
    },
    request: () => {
      requests++;
      client.request('echo', 1, { timeout: 1000 }).catch(() => {}).then(() => settledRequests++);
    },
    close: () => chance() < 0.3 && client.close(),
    connect: () => client.connect(),
    join: () => void client.join('lobby').catch(() => {}),
    leave: () => void (chance() < 0.2 && client.leave('lobby')),
    restart: () => chance() < 0.1 && server.restart(),
    offline: () => page.tell('offline'),
    online: () => page.tell('online'),
    hide: () => page.tell('pagehide'),
    show: () => page.tell('pageshow'),
    visible: () => page.show('visible'),
    sleep: () => clock.sleep(chance() * 60_000),
    time: () => clock.advance(chance() * 3000),
    more: () => clock.advance(chance() * 500),
  };
  const good = ['open', 'open', 'serve', 'serve', 'speak', 'online', 'show', 'connect', 'join', 'time', 'send'];
  const often = [...good, ...good, ...Object.keys(steps)];

  for (let step = 0; step < STEPS; step++) {
    await steps[pick(often)]();
    await settled();

    assert.ok(net.open.length <= 1, 'two sockets are open');
    if (client.state === 'connected') assert.equal(net.last.closed, null, 'connected on a socket that it closed');
    if (client.state === 'closed') assert.deepEqual([clock.timers, page.ears], [0, 0], 'closed, but holds something');
  }

  diary.state.forEach(({ state, previous }, place) => {
    assert.ok(TRANSITIONS[previous].includes(state), `${previous} -> ${state}`);
    if (place) assert.equal(previous, diary.state[place - 1].state);
  });
  assert.equal(new Set(heard).size, heard.length, 'a message was delivered twice');
  const whole = heard.slice(wholeSince).map((data) => Number(data.split(':')[1]));
  whole.forEach((offset, place) => place && assert.ok(offset > whole[place - 1], 'out of order'));
  return { made, server, heard, counts: () => [requests, settledRequests] };
}

test(`in ${SCHEDULES} random lives there are never two sockets, no message twice, and only legal states`, async () => {
  let delivered = 0;
  let reconnections = 0;
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    try {
      const { made, heard, counts } = await live(seed);
      made.client.close();
      await made.clock.advance(20_000);
      const [requests, ended] = counts();
      assert.equal(ended, requests, 'a request never ended');
      assert.equal(made.clock.timers, 0);
      const said = made.net.sockets.flatMap((socket) => socket.sent);
      const sent = said.filter(({ task }) => task === 't').map(({ data }) => data);
      assert.equal(new Set(sent).size, sent.length, 'a message was sent twice');
      sent.forEach((data, place) => place && assert.ok(data > sent[place - 1], 'the queue changed the order'));
      delivered += heard.length;
      reconnections += made.net.sockets.length - 1;
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
  assert.ok(delivered > SCHEDULES && reconnections > SCHEDULES, `too little: ${delivered}, ${reconnections}`);
});

test('after any life a client that may connect comes back, and hears what was said since', async () => {
  for (let seed = 5001; seed <= 5200; seed++) {
    const { made, server, heard } = await live(seed);
    const { client, net, clock, page } = made;
    page.tell('online');
    page.tell('pageshow');
    client.connect();
    client.join('lobby').catch(() => {});
    const isBack = () => client.state === 'connected' && server.member === net.last && net.last.readyState === 1;
    for (let n = 0; n < 300 && !isBack(); n++) {
      if (net.last?.readyState === 0) net.last.open();
      if (net.last?.readyState === 2 && net.last.closed === null) net.last.end();
      await settled();
      server.serve();
      await clock.advance(1000);
    }

    server.speak();

    assert.equal(client.state, 'connected', `seed ${seed}`);
    assert.equal(heard.at(-1), server.history.at(-1).data, `seed ${seed}`);
    client.close();
  }
});

test('with one room and no leaving, every message is heard exactly once, whatever breaks', async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const chance = generator(seed);
    const { client, net, clock, diary } = make({}, { random: chance });
    const server = new Server(net);
    const heard = [];
    client.subscribe('news', (data) => heard.push(data));
    net.last.open();
    server.serve();
    for (let step = 0; step < 100; step++) {
      const what = chance();
      if (what < 0.4) server.speak();
      else if (what < 0.5 && net.last.readyState < 2) net.last.end();
      else if (what < 0.7 && net.last.readyState === 0) net.last.open();
      else if (what < 0.9) server.serve();
      else await clock.advance(chance() * 1000);
    }
    while (client.state !== 'connected') {
      await clock.advance(1000);
      if (net.last.readyState === 0) net.last.open();
      server.serve();
    }
    server.serve();

    assert.deepEqual(heard, server.history.map(({ data }) => data), `seed ${seed}`);
    assert.ok(diary.recovered.every(({ recovered }) => recovered), `seed ${seed}`);
    client.close();
  }
});

test('the queue keeps its bounds when thousands of messages of any size come', () => {
  const chance = generator(1);
  const { client, net } = make({ queue: { messages: 50, bytes: 10_000 } });
  let [count, bytes] = [0, 0];
  for (let n = 0; n < 5000; n++) {
    const data = 'x'.repeat(Math.floor(chance() * 2000));
    const size = JSON.stringify({ task: 't', data }).length;
    const isTaken = client.send('t', data);

    assert.equal(isTaken, count < 50 && bytes + size <= 10_000);
    if (isTaken) [count, bytes] = [count + 1, bytes + size];
  }
  net.last.open().welcome();

  assert.equal(net.last.sent.length, 1 + count);
});
