/** Doubles of everything around the client: time, chance, the network, the page. Nothing in these tests waits. */
import { EventEmitter } from 'node:events';

const built = process.env.ZEPHCLIENT; // another form of the client to test, as the minified one
if (built) await import(built);
const { Zephclient } = built ? globalThis : await import('../src/index.js');
const { ZephError } = Zephclient;
export { ZephError, Zephclient };

/** Time that moves when a test says so. */
export class FakeClock {
  #timers = new Map();
  #last = 0;
  #now = 1_000_000;

  constructor(random = () => 0) {
    this.random = random;
    this.setTimeout = (call, ms) => {
      if (!(ms <= 2 ** 31 - 1)) throw new RangeError(`a timer of ${ms} ms rings at once`);
      this.#timers.set(++this.#last, { call, at: this.#now + Math.max(0, ms) });
      return this.#last;
    };
    this.clearTimeout = (timer) => void this.#timers.delete(timer);
    this.now = () => this.#now;
  }

  get timers() {
    return this.#timers.size;
  }

  /** When the next timer rings, in ms from now. */
  get next() {
    return Math.min(...[...this.#timers.values()].map((timer) => timer.at)) - this.#now;
  }

  /** Let time pass, and what is due happen, promises included. */
  async advance(ms) {
    const end = this.#now + ms;
    for (let due = this.#due(end); due; due = this.#due(end)) {
      const [id, { call, at }] = due;
      this.#now = Math.max(this.#now, at);
      this.#timers.delete(id);
      call();
      await settled();
    }
    this.#now = end;
    await settled();
  }

  /** The computer sleeps: the clock goes on, and timers ring late, when something makes them. */
  sleep(ms) {
    this.#now += ms;
  }

  #due(end) {
    const due = [...this.#timers].filter(([, timer]) => timer.at <= end);
    return due.sort(([a, one], [b, other]) => one.at - other.at || a - b)[0];
  }
}

/** All promises that can be kept are kept. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A network: the sockets that a client made, and what it said on them. */
export class FakeNet {
  constructor() {
    this.sockets = [];
    const net = this;
    this.WebSocket = class FakeSocket {
      constructor(url, protocols) {
        if (net.refuses) throw net.refuses;
        Object.assign(this, { url, protocols, readyState: 0, sent: [], closed: null });
        net.sockets.push(this);
      }

      // -- what the client does, as strict as a browser

      send(text) {
        if (this.readyState === 0) throw new Error('InvalidStateError: still connecting');
        if (this.readyState === 1) this.sent.push(JSON.parse(text));
      }

      close(code, reason = '') {
        if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) throw new Error(`no code ${code}`);
        if (Buffer.byteLength(reason) > 123) throw new Error('SyntaxError: the reason is too long');
        if (this.readyState >= 2) return;
        this.readyState = 2;
        this.closed = { code, reason };
      }

      // -- what the server and the network do

      open() {
        this.readyState = 1;
        this.onopen?.({});
        return this;
      }

      hear(message) {
        this.onmessage?.({ data: typeof message === 'string' ? message : JSON.stringify(message) });
        return this;
      }

      welcome(more) {
        return this.hear({ msgtype: 'welcome', cid: `cid${net.sockets.length}`, user: ANN, heartbeat: 20, ...more });
      }

      end(code = 1006, reason = '') {
        this.readyState = 3;
        this.onerror?.({});
        this.onclose?.({ code, reason });
      }

      /** What was said last, or the last n. */
      said(n) {
        return n === undefined ? this.sent.at(-1) : this.sent.slice(-n);
      }
    };
  }

  get last() {
    return this.sockets.at(-1);
  }

  get open() {
    return this.sockets.filter((socket) => socket.readyState < 2);
  }
}

export const ANN = { id: 7, username: 'ann' };

/** A page whose events are made by hand; `globalThis`, `document` and `navigator` of a browser tab. */
export class FakePage {
  constructor(href = 'http://example.com/chat?x=1') {
    this.location = new URL(href);
    Object.assign(this, ears());
    this.document = { visibilityState: 'visible', ...ears() };
    this.navigator = { onLine: true };
  }

  tell(name, event = {}) {
    if (name === 'online' || name === 'offline') this.navigator.onLine = name === 'online';
    this.emit(name, event);
  }

  show(state) {
    this.document.visibilityState = state;
    this.document.emit('visibilitychange', {});
  }

  get ears() {
    return this.count() + this.document.count();
  }
}

function ears() {
  const emitter = new EventEmitter();
  return {
    addEventListener: (name, call) => void emitter.on(name, call),
    removeEventListener: (name, call) => void emitter.off(name, call),
    emit: (name, event) => void emitter.emit(name, event),
    count: () => emitter.eventNames().reduce((sum, name) => sum + emitter.listenerCount(name), 0),
  };
}

/** A client in a fake world, in the room "lobby" unless told, with a diary of its events. */
export function make(options = {}, { random, href } = {}) {
  const net = new FakeNet();
  const clock = new FakeClock(random);
  const page = new FakePage(href);
  const world = { WebSocket: net.WebSocket, clock, page };
  const client = new Zephclient({ url: 'ws://server/ws', room: 'lobby', ...world, ...options });
  const diary = { state: [], welcome: [], presence: [], recovered: [], message: [], error: [], reloaded: [] };
  for (const name of Object.keys(diary)) client.on(name, (value) => diary[name].push(value));
  /** The attempt under way succeeds. */
  const up = (more) => net.last.open().welcome(more);
  return { client, net, clock, page, diary, up };
}

/** The same, and connected. */
export function connected(options, world) {
  const made = make(options, world);
  made.up();
  return made;
}

/** How a promise ended; 'pending' when it has not. */
export async function outcome(promise) {
  const pending = settled().then(() => 'pending');
  return Promise.race([promise.then((value) => ({ value }), (error) => ({ error })), pending]);
}
