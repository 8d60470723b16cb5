import { backoff } from './advice.js';
import { ZephError } from './errors.js';

const RETRY = { min: 1000, max: 20_000 }; // ms between attempts to come back into a room that is full just now

/** A room as the page sees it: a name, what is known of it, and the client's verbs for it alone. */
export class Room {
  #entry;
  #client;

  constructor(entry, client) {
    this.#entry = entry;
    this.#client = client;
    this.name = entry.name;
  }

  /** Whether one is in it just now. */
  get joined() {
    return this.#entry.isIn;
  }

  /** Names of the users in it, as far as told; `total` is greater in a large room. */
  get users() {
    return [...this.#entry.users];
  }

  get total() {
    return this.#entry.total;
  }

  /** Place in the room's history, to be kept over a reload of the page: join(name, {recover: {epoch, offset}}). */
  get epoch() {
    return this.#entry.epoch;
  }

  get offset() {
    return this.#entry.offset;
  }

  send(task, data) {
    return this.#client.send(task, data, { room: this.name });
  }

  request(task, data, options) {
    return this.#client.request(task, data, { ...options, room: this.name });
  }

  /** Only what the task says to this room. */
  subscribe(task, callback) {
    return this.#client.subscribe(task, (data, message) => {
      if (message.room === this.name) callback(data, message);
    });
  }

  /** The events that tell of a room: `presence`, `recovered`, `message`, `error`. */
  on(event, callback) {
    return this.#client.on(event, (value) => {
      if (value.room === this.name) callback(value);
    });
  }

  presence(options) {
    return this.#client.presence(this.name, options);
  }

  leave() {
    return this.#client.leave(this.name);
  }
}

/** The rooms that one wants to be in, in the order of joining, and how far one has read in each. */
export class Rooms {
  #entries = new Map();
  #client;
  #wire;
  #clock;
  #hello = null; // the room of the first message, until the welcome

  /** *wire*: isOpen(), say(message), newId(), emit(name, value) */
  constructor(client, wire, clock) {
    this.#client = client;
    this.#wire = wire;
    this.#clock = clock;
  }

  get names() {
    return [...this.#entries.keys()];
  }

  /** Want to be in a room. */
  add(name) {
    const entry = {
      name,
      recover: true, // whether to ask for what was missed
      epoch: undefined,
      offset: undefined, // the highest that was seen
      asked: false, // whether a join was sent on this connection
      id: undefined, // of the join under way; null for the one of the first message, which has none
      claim: false, // whether that join asked for what was missed
      isIn: false,
      wasIn: false,
      users: [],
      total: 0,
      waiters: [],
      failures: 0,
      timer: undefined,
    };
    entry.room = new Room(entry, this.#client);
    this.#entries.set(name, entry);
    return entry;
  }

  /**
   * Be in a room: the Room, as soon as the server has let one in. *recover* is whether to ask for what was missed while
   * there was no connection; an object with epoch and offset says since when, at the first time.
   */
  join(name, recover) {
    let entry = this.#entries.get(name);
    if (!entry) entry = this.add(name);
    if (recover !== undefined) entry.recover = Boolean(recover);
    if (typeof recover === 'object' && !entry.wasIn) {
      entry.epoch = recover.epoch;
      entry.offset = recover.offset;
    }
    if (entry.isIn) return Promise.resolve(entry.room);
    const promise = new Promise((resolve, reject) => entry.waiters.push({ resolve, reject }));
    if (!entry.asked && this.#wire.isOpen()) this.#ask(entry);
    return promise;
  }

  /** Do not want to be in a room any more; whether the server has to be told. */
  leave(name) {
    const entry = this.#entries.get(name);
    if (!entry) return false;
    this.#entries.delete(name);
    this.#clock.clearTimeout(entry.timer);
    entry.isIn = false;
    settle(entry, (waiter) => waiter.reject(new ZephError('aborted', `the room ${name} was left`, { room: name })));
    return entry.asked;
  }

  /** What the first message says of rooms. */
  hello() {
    const [entry] = this.#entries.values();
    this.#hello = entry?.name ?? null;
    if (!entry) return {};
    entry.asked = true;
    entry.id = null;
    return { room: entry.name, ...this.#claim(entry) };
  }

  /** After the welcome: join the others. */
  restore() {
    const hello = this.#hello;
    this.#hello = null;
    if (hello !== null && !this.#entries.has(hello)) {
      this.#wire.say({ msgtype: 'leave', room: hello }); // it was left while there was no connection to say so
    }
    for (const entry of this.#entries.values()) if (!entry.asked) this.#ask(entry);
  }

  /** The connection is gone. With *error* nobody comes back, and who waits to be let in is told. */
  lost(error) {
    this.#hello = null;
    for (const entry of this.#entries.values()) {
      entry.isIn = entry.asked = false;
      entry.id = undefined;
      this.#clock.clearTimeout(entry.timer);
      if (error) settle(entry, (waiter) => waiter.reject(error));
    }
  }

  /** The server let one in, or told that the history began anew, or goes on under another epoch. */
  joined({ room: name, id, epoch, offset, recovered }) {
    const entry = this.#entries.get(name);
    const isAnswer = entry && entry.id === (id ?? null);
    if (!entry || !(isAnswer || (entry.isIn && id === undefined))) return; // of a join that was taken back
    const isWhole = recovered === true; // the epoch may be another one all the same: the history goes on elsewhere
    const isNews = isAnswer ? entry.wasIn || entry.claim : epoch !== entry.epoch && !isWhole;
    const missed = isWhole ? offset - entry.offset : null;
    if (!isWhole) Object.assign(entry, { offset });
    Object.assign(entry, { epoch, id: undefined, claim: false, isIn: true, wasIn: true, failures: 0 });
    settle(entry, (waiter) => waiter.resolve(entry.room));
    if (isNews) this.#wire.emit('recovered', { room: name, recovered: isWhole, missed });
  }

  /**
   * The server did not let one in. Whether the error was about a join; then who waits for it is told, or the page by an
   * event, and a room that is refused only for now is tried again.
   */
  refused(message, error) {
    const { id = null, room } = message;
    const entry = [...this.#entries.values()].find((one) => one.id === id && (id !== null || one.name === room));
    if (!entry) return false;
    error.room = entry.name;
    entry.id = undefined;
    const isAwaited = settle(entry, (waiter) => waiter.reject(error));
    if (isAwaited || !error.temporary) {
      this.#entries.delete(entry.name);
    } else {
      const delay = backoff(entry.failures++, RETRY.min, RETRY.max, this.#clock.random());
      entry.timer = this.#clock.setTimeout(() => this.#wire.isOpen() && this.#ask(entry), delay);
    }
    if (!isAwaited) this.#wire.emit('error', error);
    return true;
  }

  /** Somebody came or went, or the whole list. */
  presence({ msgtype, room, username, data, total }) {
    const entry = this.#entries.get(room);
    if (msgtype === 'user_list') {
      const users = Array.isArray(data) ? data : [];
      if (entry) Object.assign(entry, { users, total: total ?? users.length });
      return { room, type: 'list', users, total: total ?? users.length };
    }
    if (entry) {
      const others = entry.users.filter((name) => name !== username);
      const users = msgtype === 'join' ? [...others, username] : others;
      Object.assign(entry, { users, total: entry.total + users.length - entry.users.length });
    }
    return { room, type: msgtype, username };
  }

  /** Note how far one has read; false when this message was seen before. */
  isNew({ room, offset }) {
    const entry = this.#entries.get(room);
    if (!entry?.isIn || !Number.isSafeInteger(offset) || !Number.isSafeInteger(entry.offset)) return true;
    if (offset <= entry.offset) return false;
    entry.offset = offset;
    return true;
  }

  #ask(entry) {
    entry.asked = true;
    entry.id = this.#wire.newId();
    this.#wire.say({ msgtype: 'join', room: entry.name, ...this.#claim(entry), id: entry.id });
  }

  #claim(entry) {
    entry.claim = entry.recover && entry.epoch !== undefined && entry.offset !== undefined;
    return entry.claim ? { epoch: entry.epoch, offset: entry.offset } : {};
  }
}

/** Tell all who wait for a room; whether there were any. */
function settle(entry, how) {
  const waiters = entry.waiters.splice(0);
  waiters.forEach(how);
  return waiters.length > 0;
}
