import { abortError, Requests } from './requests.js';
import { Events, Listeners, callSafely } from './listeners.js';
import { Link } from './link.js';
import { Queue } from './queue.js';
import { Rooms } from './rooms.js';
import { VERSION } from './version.js';
import { ZephError, errorOf } from './errors.js';
import { readOptions } from './options.js';

const EVENTS = ['state', 'welcome', 'presence', 'recovered', 'message', 'error', 'reloaded'];
const TIMEOUT = 10_000; // ms that a request may take

class Client {
  #settings;
  #clock;
  #link;
  #requests;
  #rooms;
  #queue;
  #queueTimer;
  #events = new Events(EVENTS);
  #subscribers = new Listeners();
  #cid = null;
  #user = null;

  /** The four arguments of 2015, all optional, or one object with options: docs/reference/zephclient.md. */
  constructor(session, url, room, messageCallback) {
    const settings = (this.#settings = readOptions(session, url, room, messageCallback));
    const clock = (this.#clock = settings.clock);
    const emit = (name, value) => this.#emit(name, value);
    this.#requests = new Requests(clock);
    this.#queue = new Queue(settings.queue);
    this.#link = new Link(settings, {
      hello: (session) => JSON.stringify({ session_id: session ?? null, ...this.#rooms.hello() }),
      up: (welcome) => this.#up(welcome),
      down: (isFinal, closeCode) => this.#down(isFinal, closeCode),
      raw: (event) => settings.messageCallback && callSafely(settings.messageCallback, [event]),
      message: (message) => this.#hear(message),
      ping: () => this.#link.isOpen && this.#say({ task: 'TaskPing', id: this.#requests.newId() }),
      emit,
    });
    const wire = {
      isOpen: () => this.#link.isOpen,
      say: (message) => this.#say(message),
      newId: () => this.#requests.newId(),
      emit,
    };
    this.#rooms = new Rooms(this, wire, clock);
    settings.rooms.forEach((name) => this.#rooms.add(name));
    if (settings.connect) this.connect();
  }

  /** `connecting`, `connected` (the server knows who one is), `waiting` (to try again) or `closed` (for good). */
  get state() {
    return this.#link.state;
  }

  /** The id of this connection; null without one. */
  get cid() {
    return this.#cid;
  }

  /** Who one is to the server, an id and a name; null before the first welcome. */
  get user() {
    return this.#user;
  }

  /** The names of the rooms one wants to be in. */
  get rooms() {
    return this.#rooms.names;
  }

  /** The next connection shows this; without meaning when there is getToken. */
  get session() {
    return this.#settings.session;
  }

  set session(session) {
    this.#settings.session = session;
  }

  /** Connect now: after close(), after the server wanted one to go, or instead of waiting any longer. */
  connect() {
    this.#link.open();
  }

  /** End for good, until connect() is called. What waits is thrown away, and open requests fail with `closed`. */
  close(code = 1000, reason = '') {
    if (code !== 1000 && !(code >= 3000 && code <= 4999)) throw new RangeError('a close code is 1000, or 3000 to 4999');
    if (new TextEncoder().encode(reason).length > 123) throw new RangeError('a reason has at most 123 bytes');
    this.#emptyQueue();
    this.#link.close(code, reason);
  }

  // -- messages -------------------------------------------------------------------------------------------------------

  /**
   * Have a task done, without an answer. True when it was sent, or waits for the connection; false when it was dropped,
   * because the queue is full or the client is closed. With `room` the task gets that room instead of the first.
   */
  send(task, data, { room } = {}) {
    const text = JSON.stringify({ task: checked('task', task), data, room });
    if (this.#link.isOpen) this.#link.say(text);
    else if (this.state === 'closed' || !this.#enqueue(text)) return false;
    return true;
  }

  /** Have a task done: what it answered. Rejects with ZephError; the time counts from the call. */
  request(task, data, { room, ...options } = {}) {
    return this.#ask({ task, data, room }, `task ${task}`, () => checked('task', task), options);
  }

  /** Hear what a task says: callback(data, message). Returns what ends this subscription. */
  subscribe(task, callback) {
    this.#needSubscribers();
    return this.#subscribers.add(checked('task', task), callback);
  }

  /** Take that very function away, once; whether it was there. */
  unsubscribe(task, callback) {
    this.#needSubscribers();
    return this.#subscribers.remove(task, callback);
  }

  /** Hear of an event. Returns what ends that. */
  on(event, callback) {
    return this.#events.on(event, callback);
  }

  off(event, callback) {
    return this.#events.off(event, callback);
  }

  // -- rooms ----------------------------------------------------------------------------------------------------------

  /** Be in a room, also after every reconnection: the Room, once the server has let one in. */
  join(room, { recover } = {}) {
    return attempted(() => {
      if (this.state === 'closed') throw new ZephError('closed', 'the client is closed: connect() first', { room });
      return this.#rooms.join(checked('room', room), recover);
    });
  }

  /** Be in a room no more. Resolves when the server said so, or when there is nobody to ask; never rejects. */
  leave(room) {
    if (!this.#rooms.leave(room) || !this.#link.isOpen) return Promise.resolve();
    return this.#ask({ msgtype: 'leave', room }, `leaving ${room}`).then(() => {}, () => {});
  }

  /** The names of the users in a room that one is in. */
  presence(room, options) {
    return this.#ask({ msgtype: 'user_list', room }, `presence of ${room}`, () => checked('room', room), options);
  }

  // -- within: out ----------------------------------------------------------------------------------------------------

  #say(message) {
    this.#link.say(JSON.stringify(message));
  }

  #ask(message, what, check = () => {}, { timeout = TIMEOUT, signal } = {}) {
    return attempted(() => {
      check();
      if (signal?.aborted) throw abortError(what, signal);
      if (this.state === 'closed') throw new ZephError('closed', `${what}: the client is closed`);
      const id = this.#requests.newId();
      const text = JSON.stringify({ ...message, id });
      const item = this.#link.isOpen ? null : this.#enqueue(text, true);
      if (item === false) throw new ZephError('queue-full', `${what}: too much waits for the connection`);
      const answer = this.#requests.wait(id, what, { timeout, signal, item, cancel: (one) => this.#queue.remove(one) });
      if (!item) this.#link.say(text);
      return answer;
    });
  }

  /** A place in the queue, false when it is full. */
  #enqueue(text, isRequest = false) {
    const now = this.#expireQueue();
    const item = this.#queue.add(text, now, isRequest);
    this.#watchQueue(now);
    return item ?? false;
  }

  #watchQueue(now) {
    this.#clock.clearTimeout(this.#queueTimer);
    const { ends } = this.#queue;
    if (ends === Infinity) return;
    this.#queueTimer = this.#clock.setTimeout(() => this.#watchQueue(this.#expireQueue()), ends - now);
  }

  /** Take out what is too old; the time at which that was. */
  #expireQueue() {
    const now = this.#clock.now();
    const old = this.#queue.expire(now);
    if (old.length) this.#tellDropped('expired', `${old.length} messages waited too long for a connection`, old);
    return now;
  }

  /** Tell, in a moment: whoever hears it may do anything, and this is in the midst of something. */
  #tellDropped(code, why, items, details) {
    const dropped = items.map((item) => JSON.parse(item.text));
    const error = new ZephError(code, why, { ...details, dropped });
    queueMicrotask(() => this.#emit('error', error));
  }

  #emptyQueue() {
    this.#clock.clearTimeout(this.#queueTimer);
    return this.#queue.clear();
  }

  // -- within: in -----------------------------------------------------------------------------------------------------

  #up({ cid, user }) {
    this.#cid = cid ?? null;
    this.#user = user ?? null;
    this.#rooms.restore();
    this.#expireQueue();
    this.#requests.sent();
    for (const item of this.#emptyQueue()) this.#link.say(item.text);
  }

  #down(isFinal, closeCode) {
    this.#cid = null;
    const details = { closeCode: closeCode ?? null };
    if (isFinal) {
      const closed = (what) => new ZephError('closed', `${what}: the connection was closed for good`, details);
      this.#requests.breakOff(closed, { alsoQueued: true });
      this.#rooms.lost(closed('joining'));
      const items = this.#emptyQueue().filter((item) => item.ends !== Infinity); // requests were told
      if (items.length) this.#tellDropped('closed', `${items.length} messages were not sent`, items, details);
    } else {
      const lost = (what) => new ZephError('connection-lost', `${what} may have been done or not`, details);
      this.#requests.breakOff(lost, { alsoQueued: false });
      this.#rooms.lost();
    }
  }

  /** What has an id is an answer: to the one who asked, or to nobody any more. */
  #hear(message) {
    if (message.error) {
      this.#hearError(message);
    } else if (message.msgtype !== undefined) {
      this.#hearOfRoom(message);
    } else if (message.id !== undefined) {
      this.#requests.answer(message.id, message.data);
    } else if (this.#rooms.isNew(message)) {
      if (!this.#settings.messageCallback) this.#subscribers.call(message.task, message.data, message);
      this.#emit('message', message);
    }
  }

  #hearError(message) {
    const error = errorOf(message);
    const isKnown = this.#requests.refuse(message.id, error) || this.#rooms.refused(message, error);
    if (!isKnown && message.id === undefined) this.#emit('error', error);
  }

  #hearOfRoom(message) {
    const { msgtype, id } = message;
    if (msgtype === 'joined') {
      this.#rooms.joined(message);
    } else if (msgtype === 'left') {
      this.#requests.answer(id);
    } else if (['join', 'leave', 'user_list'].includes(msgtype)) {
      const event = this.#rooms.presence(message);
      if (id === undefined) this.#emit('presence', event);
      else this.#requests.answer(id, event.users);
    } else if (msgtype === 'reloaded') {
      this.#emit('reloaded', message);
    }
  }

  #emit(name, value) {
    if (name === 'error' && !this.#events.has(name)) console.warn(`zephclient: ${value.message} (${value.code})`);
    this.#events.emit(name, value);
  }

  #needSubscribers() {
    if (this.#settings.messageCallback) {
      throw new Error('there are no subscribers: the messageCallback of the constructor gets all messages');
    }
  }
}

function checked(what, name) {
  if (typeof name !== 'string' || !name) throw new TypeError(`a ${what} has a name, a text; got ${name === '' ? "''" : typeof name}`);
  return name;
}

/** A promise of what *make* returns, also when it raises. */
function attempted(make) {
  return new Promise((resolve) => resolve(make()));
}

/** As pages of 2015 wrote it, also without `new`; classes may extend it. */
export function Zephclient(...options) {
  return Reflect.construct(Client, options, new.target ?? Zephclient);
}
Zephclient.prototype = Client.prototype;
Client.prototype.constructor = Zephclient;
Zephclient.version = VERSION;
Zephclient.ZephError = ZephError;
