/*! zephclient 0.1.0 | Apache-2.0 | the JavaScript client of zephserver */
// -- errors.js ---------------------------------------------------------------------------------

/** What may succeed when it is tried again later. */
const TEMPORARY = new Set([
  'connection-lost', 'expired', 'overloaded', 'queue-full', 'room-full', 'timed-out', 'timeout', 'token',
]);

/** What went wrong: `code` is for programs, `message` for people, `temporary` says whether to try again. */
class ZephError extends Error {
  /**
   * @param {string} code one of docs/reference/zephclient.md, or what a task gave to fail()
   * @param {string} message
   * @param {object} [details] more fields, as `task`, `room`, `closeCode`, `dropped`, `cause`
   */
  constructor(code, message, details = {}) {
    super(message);
    this.name = code === 'aborted' ? 'AbortError' : 'ZephError'; // as fetch() calls it, so that one check finds both
    this.code = code;
    this.temporary = TEMPORARY.has(code);
    Object.assign(this, details);
  }
}

/** The error that the server told in a message. */
function errorOf(message) {
  const { code, message: text } = message.error ?? {};
  const details = {};
  if (message.task) details.task = message.task;
  if (message.room !== undefined) details.room = message.room;
  return new ZephError(String(code ?? 'unknown'), String(text ?? code ?? 'the server told no reason'), details);
}

// -- requests.js -------------------------------------------------------------------------------

const LONGEST_TIMER = 2 ** 31 - 1; // ms; a longer one would ring at once

/** The questions that wait for an answer, by id. Each is settled once: by its answer, time, its signal, or a break. */
class Requests {
  #waiting = new Map();
  #last = 0;
  #clock;

  constructor(clock) {
    this.#clock = clock;
  }

  /** An id that no other message of this client has. */
  newId() {
    return ++this.#last;
  }

  get size() {
    return this.#waiting.size;
  }

  /**
   * Wait for the answer to *id*. *what* names the question in errors; `item` is its place in the queue, while it waits
   * there, and *cancel* takes it away from there.
   */
  wait(id, what, { timeout, signal, item = null, cancel = () => {} }) {
    return new Promise((resolve, reject) => {
      const entry = { what, item, resolve, reject, end: () => {} };
      const giveUp = (error) => {
        if (entry.item) cancel(entry.item);
        this.#settle(id, (one) => one.reject(error));
      };
      const late = () => giveUp(new ZephError('timeout', `no answer to ${what} within ${timeout} ms`));
      const aborted = () => giveUp(abortError(what, signal));
      const timer = timeout <= LONGEST_TIMER ? this.#clock.setTimeout(late, timeout) : undefined;
      signal?.addEventListener('abort', aborted);
      entry.end = () => {
        if (timer !== undefined) this.#clock.clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
      };
      this.#waiting.set(id, entry);
    });
  }

  /** Note that all questions have left the queue. */
  sent() {
    for (const entry of this.#waiting.values()) entry.item = null;
  }

  /** The answer to *id*; false when nobody waits for it (any more). */
  answer(id, data) {
    return this.#settle(id, (entry) => entry.resolve(data));
  }

  refuse(id, error) {
    return this.#settle(id, (entry) => entry.reject(error));
  }

  /** The connection is gone: those that were sent fail, because nobody knows whether they were done. */
  breakOff(makeError, { alsoQueued }) {
    for (const [id, entry] of this.#waiting) if (alsoQueued || !entry.item) this.refuse(id, makeError(entry.what));
  }

  #settle(id, how) {
    const entry = this.#waiting.get(id);
    if (!entry) return false;
    this.#waiting.delete(id);
    entry.end();
    how(entry);
    return true;
  }
}

/** What a request ends with whose signal says so. */
function abortError(what, signal) {
  return new ZephError('aborted', `${what} was aborted`, { cause: signal?.reason });
}

// -- listeners.js ------------------------------------------------------------------------------

/** Call a function of the page: what it raises is reported as if nobody stood between, and nothing else is harmed. */
function callSafely(call, values) {
  try {
    call(...values);
  } catch (error) {
    if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
    else console.error(error);
  }
}

/**
 * Functions by name. While they are called, any may be added or removed: one that is removed is not called any more,
 * nobody else is skipped, and a new one hears from the next call on.
 */
class Listeners {
  #lists = new Map();

  /** Add a function; the same one may be added twice, and is then called twice. Returns what takes this one away. */
  add(name, call) {
    if (typeof call !== 'function') throw new TypeError(`a function is needed to hear of ${name}, not ${typeof call}`);
    const entry = { call, isOn: true };
    this.#lists.set(name, [...(this.#lists.get(name) ?? []), entry]);
    return () => this.#cut(name, entry);
  }

  /** Take a function away, once; whether it was there. */
  remove(name, call) {
    const entry = this.#lists.get(name)?.find((one) => one.call === call);
    if (entry) this.#cut(name, entry);
    return entry !== undefined;
  }

  has(name) {
    return this.#lists.has(name);
  }

  call(name, ...values) {
    for (const entry of this.#lists.get(name) ?? []) if (entry.isOn) callSafely(entry.call, values);
  }

  #cut(name, entry) {
    entry.isOn = false;
    const left = (this.#lists.get(name) ?? []).filter((one) => one !== entry); // a new list: the old one is being read
    if (left.length) this.#lists.set(name, left);
    else this.#lists.delete(name);
  }
}

/** Listeners that hear of everything in the order in which it happened, also of what a listener causes. */
class Events {
  #listeners = new Listeners();
  #waiting = [];
  #isBusy = false;

  constructor(names) {
    this.names = names;
  }

  on(name, call) {
    return this.#listeners.add(this.#known(name), call);
  }

  off(name, call) {
    return this.#listeners.remove(this.#known(name), call);
  }

  has(name) {
    return this.#listeners.has(name);
  }

  emit(name, value) {
    this.#waiting.push([name, value]);
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#waiting.length) this.#listeners.call(...this.#waiting.shift());
    this.#isBusy = false;
  }

  #known(name) {
    if (!this.names.includes(name)) throw new TypeError(`no event ${name}; there are: ${this.names.join(', ')}`);
    return name;
  }
}

// -- advice.js ---------------------------------------------------------------------------------

/** The server does not want this client back before a person has acted (docs/protocol.md, "Close codes"). */
const FOR_GOOD = new Set([4003, 4004, 4009]);
const EXPIRED = 4002;
/** "Later": in these cases a first retry after half a second would only add to the trouble. */
const LATER = new Set([1011, 1013]);
const LONGEST_ADVICE = 300_000; // ms; a larger number is a mistake, and would look like a client that is dead

/**
 * What a close frame tells about coming back: `stop`, `renew` (get a new token first), or `least`, the ms to wait.
 * @param {number|null} code
 * @param {string} [reason]
 */
function advice(code, reason = '') {
  if (FOR_GOOD.has(code)) return { stop: true, renew: false, least: 0 };
  if (code === EXPIRED) return { stop: false, renew: true, least: 0 };
  if (code === 1012) return { stop: false, renew: false, least: retryAfter(reason) };
  return { stop: false, renew: false, least: LATER.has(code) ? 1000 : 0 };
}

function retryAfter(reason) {
  try {
    const seconds = Number(JSON.parse(reason).retry_after);
    return seconds > 0 ? Math.min(seconds * 1000, LONGEST_ADVICE) : 0;
  } catch {
    return 0; // words for people
  }
}

/**
 * Full jitter: after *failures* in a row, anything from `min` up to a bound that doubles until it is `max`. So many
 * clients that lost one server at the same moment come back evenly spread.
 */
function backoff(failures, min, max, random) {
  const bound = Math.min(max, min * 2 ** Math.min(failures + 1, 32));
  return Math.round(min + random * Math.max(0, bound - min));
}

// -- page.js -----------------------------------------------------------------------------------

/**
 * What the page (or worker, or Node) tells about being awake. Each event is a plain call on *hears*; a world that has
 * no such events never makes any.
 */
class Page {
  #world;
  #hears;
  #ears = [];
  #wentOffline = false;

  /** @param {object} world globalThis, or what a test gives in its place */
  constructor(world, hears) {
    this.#world = world;
    this.#hears = hears;
  }

  listen() {
    if (this.#ears.length) return;
    const { document } = this.#world;
    this.#ear(this.#world, 'online', () => this.#online(true));
    this.#ear(this.#world, 'offline', () => this.#online(false));
    this.#ear(this.#world, 'pagehide', () => this.#hears.leave());
    this.#ear(this.#world, 'pageshow', () => this.#hears.comeBack());
    this.#ear(document, 'visibilitychange', () => {
      if (document.visibilityState !== 'visible') return;
      this.#wentOffline = false; // a person looks: a server on this machine is worth another attempt
      this.#hears.wake();
    });
  }

  stop() {
    for (const [target, name, call] of this.#ears) target.removeEventListener(name, call);
    this.#ears = [];
    this.#wentOffline = false;
  }

  /**
   * Whether it is no use to try. A server on this very machine is there without any network, where some browsers always
   * say that they are offline; for it only the event counts.
   */
  isOffline(url) {
    return this.#world.navigator?.onLine === false && (this.#wentOffline || !isLocal(url));
  }

  #ear(target, name, call) {
    if (typeof target?.addEventListener !== 'function') return;
    target.addEventListener(name, call);
    this.#ears.push([target, name, call]);
  }

  #online(isOnline) {
    this.#wentOffline = !isOnline;
    if (isOnline) this.#hears.online();
    else this.#hears.offline();
  }
}

function isLocal(url) {
  const { hostname } = new URL(url);
  return hostname === '[::1]' || /^127\.[\d.]+$/.test(hostname) || /(^|\.)localhost$/.test(hostname);
}

/**
 * The address of the server: undefined is `/ws` of the page's host, and anything else may be relative to the page.
 * Raises TypeError when that leads nowhere.
 */
function resolveUrl(url, world) {
  const { location } = world;
  if (url === undefined || url === null) {
    if (!location?.host) throw new TypeError('there is no page here whose host could be meant: give a url');
    return `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/ws`;
  }
  const found = new URL(url, location?.href);
  if (found.protocol === 'http:' || found.protocol === 'https:') found.protocol = found.protocol.replace('http', 'ws');
  if (!/^wss?:$/.test(found.protocol)) throw new TypeError(`expected a url such as wss://host/ws, got ${url}`);
  found.hash = ''; // a WebSocket takes none
  return found.href;
}

// -- pulse.js ----------------------------------------------------------------------------------

const PROBE = 5000; // ms that a server has to answer a ping which was sent because of a doubt
const LATE = 2000; // ms: a timer that rings later than this tells that the page slept or was throttled

/**
 * Sees to it that both sides hear something: raises `silence` when the server says nothing for too long, asks for a
 * `ping` when this side said nothing. Looks at times, never counts ticks: hidden pages get their timers late.
 */
class Pulse {
  #clock;
  #ping;
  #silence;
  #interval;
  #limit = Infinity;
  #heardAt = 0;
  #saidAt = 0;
  #watchTimer;
  #pingTimer;
  #isProbing = false;

  /** @param {{clock: object, interval: number, ping: () => void, silence: (ms: number) => void}} how */
  constructor({ clock, interval, ping, silence }) {
    this.#clock = clock;
    this.#interval = interval;
    this.#ping = ping;
    this.#silence = silence;
  }

  /** Begin; *limit* is the longest silence in ms. */
  start(limit) {
    this.stop();
    this.#limit = limit;
    this.#heardAt = this.#saidAt = this.#clock.now();
    this.#watch();
    this.#pingLater();
  }

  stop() {
    this.#clock.clearTimeout(this.#watchTimer);
    this.#clock.clearTimeout(this.#pingTimer);
  }

  heard() {
    this.#heardAt = this.#clock.now();
    if (this.#isProbing) this.#watch();
  }

  said() {
    this.#saidAt = this.#clock.now();
  }

  /** Look now, because the page woke up; when the silence was too long, ask before judging. */
  check() {
    if (this.#since(this.#heardAt) >= this.#limit) this.probe();
  }

  /** Is anybody there? Something must be heard soon. */
  probe() {
    if (this.#isProbing) return;
    this.#isProbing = true;
    this.#clock.clearTimeout(this.#watchTimer);
    this.#watchTimer = this.#clock.setTimeout(() => this.#silence(this.#since(this.#heardAt)), PROBE);
    this.#ping();
  }

  #watch() {
    this.#isProbing = false;
    this.#clock.clearTimeout(this.#watchTimer);
    if (this.#limit === Infinity) return;
    const rest = this.#limit - this.#since(this.#heardAt);
    const due = this.#clock.now() + rest;
    this.#watchTimer = this.#clock.setTimeout(() => this.#look(due), rest);
  }

  #look(due) {
    const silent = this.#since(this.#heardAt);
    if (silent < this.#limit) this.#watch();
    else if (this.#clock.now() - due > LATE) this.probe(); // what came while we slept may wait behind this timer
    else this.#silence(silent);
  }

  #pingLater() {
    const rest = Math.max(0, this.#interval - this.#since(this.#saidAt));
    if (this.#interval !== Infinity) {
      this.#pingTimer = this.#clock.setTimeout(() => {
        if (this.#since(this.#saidAt) >= this.#interval) {
          this.said(); // also when it cannot be sent: this timer must not turn in circles
          this.#ping();
        }
        this.#pingLater();
      }, rest);
    }
  }

  /** ms since then; a clock that was set back begins anew. */
  #since(then) {
    const now = this.#clock.now();
    if (now < then) this.#heardAt = this.#saidAt = now;
    return Math.max(0, now - then);
  }
}

// -- link.js -----------------------------------------------------------------------------------

/** Where each state may lead. The state event tells every step; `waiting` to `waiting` is a new date. */
const TRANSITIONS = {
  closed: ['connecting'],
  connecting: ['connected', 'waiting', 'closed'],
  connected: ['waiting', 'closed'],
  waiting: ['connecting', 'waiting', 'closed'],
};

const STABLE = 5000; // ms: a connection that held so long was a success, and the next failure is the first again
const OPEN = 1; // WebSocket.OPEN

/**
 * One connection after the other, never two: opens it, says the first message, notices its end, and comes back when it
 * is time. `connected` means that the welcome was heard.
 *
 * The owner is told: hello(session) -> the first message, up(welcome), down(isFinal, closeCode), raw(event),
 * message(message), ping() and emit(name, value). It may call open() and close() at any of these moments.
 */
class Link {
  #settings;
  #clock;
  #owner;
  #page;
  #pulse;
  #state = 'closed';
  #socket = null;
  #attempt = null; // an object of its own for each attempt: what belongs to an older one is ignored
  #timer;
  #attempts = 0; // since the last connection that held
  #failures = 0; // the same for the backoff; the event `online` forgets them
  #hasRenewed = false; // whether a new token was fetched at once since the last connection that held
  #notBefore = 0; // what the server said about coming back
  #upSince = 0;
  #isAway = false; // the page is in the back/forward cache, or on its way there

  constructor(settings, owner) {
    this.#settings = settings;
    this.#clock = settings.clock;
    this.#owner = owner;
    this.#page = new Page(settings.page, {
      online: () => this.#online(),
      offline: () => this.#offline(),
      wake: () => this.#wake(),
      leave: () => this.#leave(),
      comeBack: () => this.#comeBack(),
    });
    this.#pulse = new Pulse({
      clock: this.#clock,
      interval: settings.pingInterval,
      ping: () => owner.ping(),
      silence: (ms) => this.#lost(null, `nothing was heard for ${Math.round(ms / 1000)} s`),
    });
  }

  get state() {
    return this.#state;
  }

  /** Whether a message can be sent now. A socket that is being closed would swallow it without a word. */
  get isOpen() {
    return this.#state === 'connected' && this.#socket?.readyState === OPEN;
  }

  /** Connect, without waiting any longer. Nothing happens when a connection is there or on its way. */
  open() {
    if (this.#state !== 'closed' && this.#state !== 'waiting') return;
    this.#attempts = this.#failures = this.#notBefore = 0;
    this.#hasRenewed = this.#isAway = false;
    this.#page.listen();
    this.#begin();
  }

  /** End for good. */
  close(code, reason) {
    if (this.#state !== 'closed') this.#stop(code, reason, code);
  }

  say(text) {
    this.#pulse.said();
    this.#socket.send(text);
  }

  // -- one attempt ----------------------------------------------------------------------------------------------------

  #begin() {
    const { connectTimeout, getToken, session } = this.#settings;
    const attempt = (this.#attempt = {});
    const isCurrent = () => this.#attempt === attempt;
    this.#attempts++;
    this.#setTimer(() => this.#lost(null, `no welcome within ${connectTimeout / 1000} s`), connectTimeout);
    this.#move('connecting');
    if (!isCurrent()) return; // a listener thought otherwise
    if (!getToken) return this.#dial(session);
    new Promise((resolve) => resolve(getToken())).then(
      (token) => isCurrent() && this.#dial(token),
      (error) => isCurrent() && this.#noToken(error),
    );
  }

  #dial(session) {
    const { WebSocket, url, protocols } = this.#settings;
    let socket;
    try {
      socket = protocols === undefined ? new WebSocket(url) : new WebSocket(url, protocols);
    } catch (error) { // a port that browsers refuse, plain ws:// on an https page: no better at the next attempt
      this.#stop(null, error.message);
      this.#owner.emit('error', new ZephError('cannot-connect', error.message, { cause: error }));
      return;
    }
    this.#socket = socket;
    const isCurrent = () => this.#socket === socket;
    socket.onopen = () => isCurrent() && this.say(this.#owner.hello(session));
    socket.onmessage = (event) => isCurrent() && this.#heard(event);
    socket.onclose = (event) => isCurrent() && this.#lost(event.code, event.reason);
    socket.onerror = () => {}; // tells nothing, and the close that follows does
  }

  #noToken(error) {
    const why = `getToken() failed: ${error?.message ?? error}`;
    if (error?.fatal) this.#stop(null, why);
    else this.#lost(null, why);
    this.#owner.emit('error', new ZephError('token', why, { temporary: !error?.fatal, cause: error }));
  }

  #heard(event) {
    this.#pulse.heard();
    const socket = this.#socket;
    this.#owner.raw(event);
    if (this.#socket !== socket) return; // closed by the one who heard it
    let message;
    try {
      message = JSON.parse(event.data);
    } catch {
      message = null;
    }
    if (typeof message !== 'object' || message === null) {
      this.#owner.emit('error', new ZephError('bad-message', 'the server sent something that is not a message'));
    } else if (message.msgtype === 'welcome' && this.#state === 'connecting') {
      this.#up(message);
    } else if (message.msgtype !== 'heartbeat') {
      this.#owner.message(message);
    }
  }

  #up(welcome) {
    const socket = this.#socket;
    this.#setTimer();
    this.#upSince = this.#clock.now();
    this.#pulse.start(this.#settings.silence ?? longestSilence(welcome.heartbeat));
    const previous = this.#enter('connected');
    this.#owner.up(welcome);
    this.#tell(previous);
    if (this.#socket === socket) this.#owner.emit('welcome', welcome);
  }

  // -- its end --------------------------------------------------------------------------------------------------------

  /** The connection, or the attempt, is over: see when to try again. *code* is null when nobody closed it. */
  #lost(code, reason) {
    const { getToken, minDelay, maxDelay } = this.#settings;
    if (this.#state === 'connected' && this.#clock.now() - this.#upSince >= STABLE) {
      this.#attempts = this.#failures = 0;
      this.#hasRenewed = false;
    }
    const { stop, renew, least } = advice(code, reason);
    if (stop || (renew && !getToken)) return this.#stop(code, reason);
    this.#drop();
    let delay = 0;
    if (renew && !this.#hasRenewed) {
      this.#hasRenewed = true; // at once, but once: a new token that is refused as well is worth no hurry
    } else {
      delay = least + backoff(this.#failures++, minDelay, maxDelay, this.#clock.random());
      this.#notBefore = least && this.#clock.now() + least;
    }
    this.#wait(delay, code, reason);
  }

  /** Not again until open() is called. *said* is the close code when this side says good-bye. */
  #stop(code, reason, said) {
    this.#page.stop();
    if (said === undefined) this.#drop();
    else this.#drop(said, reason);
    this.#move('closed', { code, reason });
  }

  /** Let go of the socket and of everything that was for it. */
  #drop(said = 1000, reason = '') {
    const socket = this.#socket;
    this.#socket = this.#attempt = null;
    this.#setTimer();
    this.#pulse.stop();
    socket?.close(said, reason); // nothing happens when it is closed
  }

  // -- waiting --------------------------------------------------------------------------------------------------------

  #wait(delay, code = null, reason = '') {
    const isPaused = this.#isAway || this.#page.isOffline(this.#settings.url);
    this.#setTimer(isPaused ? undefined : () => this.#due(), delay);
    this.#move('waiting', { code, reason, retryIn: isPaused ? null : delay });
  }

  #due() {
    if (this.#page.isOffline(this.#settings.url)) this.#wait(0, null, 'offline');
    else this.#begin();
  }

  /** Something changed for the better: try at once, unless the server asked for patience. */
  #hurry() {
    if (this.#state !== 'waiting' || this.#isAway) return;
    const rest = this.#notBefore - this.#clock.now();
    if (rest > 0) this.#wait(rest);
    else this.#due();
  }

  #online() {
    this.#failures = 0;
    if (this.#state === 'connected') this.#pulse.check();
    else this.#hurry();
  }

  #offline() {
    if (this.#state === 'connected') this.#pulse.probe(); // it may be another network that is gone
    else if (this.#state === 'waiting' && this.#page.isOffline(this.#settings.url)) this.#wait(0, null, 'offline');
  }

  #wake() {
    if (this.#state === 'connected') this.#pulse.check();
    else this.#hurry();
  }

  /** The page goes: with an open connection, browsers would not keep it for the button "back". */
  #leave() {
    if (this.#state === 'closed') return;
    this.#isAway = true;
    this.#drop(1000, 'the page was left');
    this.#wait(0, null, 'the page was left');
  }

  #comeBack() {
    this.#isAway = false;
    this.#wake();
  }

  // -- within ---------------------------------------------------------------------------------------------------------

  #setTimer(call, delay) {
    this.#clock.clearTimeout(this.#timer);
    this.#timer = call && this.#clock.setTimeout(call, delay);
  }

  #move(state, details) {
    const previous = this.#enter(state);
    if (state === 'closed' || (state === 'waiting' && previous !== state)) {
      this.#owner.down(state === 'closed', details.code);
    }
    this.#tell(previous, details);
  }

  #enter(state) {
    const previous = this.#state;
    if (!TRANSITIONS[previous].includes(state)) throw new Error(`a connection that is ${previous} cannot be ${state}`);
    this.#state = state;
    return previous;
  }

  #tell(previous, { code = null, reason = '', retryIn = null } = {}) {
    this.#owner.emit('state', { state: this.#state, previous, code, reason, retryIn, attempt: this.#attempts });
  }
}

/** ms: one and a half intervals, because the server's timer is not exact, and 5 s for a slow network. */
function longestSilence(heartbeat) {
  return heartbeat > 0 ? heartbeat * 1500 + 5000 : Infinity;
}

// -- queue.js ----------------------------------------------------------------------------------

const encoder = new TextEncoder();

/** What waits for a connection: bounded by count, bytes and age. When it is full, the newest is refused. */
class Queue {
  #items = [];
  #bytes = 0;

  /** @param {{messages: number, bytes: number, age: number}} limits age in ms */
  constructor(limits) {
    this.limits = limits;
  }

  get length() {
    return this.#items.length;
  }

  get bytes() {
    return this.#bytes;
  }

  /** Let a message wait; the item, or null when there is no room. A request has a time-out of its own and no age. */
  add(text, now, isRequest = false) {
    const bytes = encoder.encode(text).length;
    if (this.#items.length >= this.limits.messages || this.#bytes + bytes > this.limits.bytes) return null;
    const item = { text, bytes, ends: isRequest ? Infinity : now + this.limits.age };
    this.#items.push(item);
    this.#bytes += bytes;
    return item;
  }

  remove(item) {
    const place = this.#items.indexOf(item);
    if (place < 0) return;
    this.#items.splice(place, 1);
    this.#bytes -= item.bytes;
  }

  /** When the next message expires; Infinity when none will. */
  get ends() {
    return this.#items.reduce((first, item) => Math.min(first, item.ends), Infinity);
  }

  /** Take out what is too old. */
  expire(now) {
    const old = this.#items.filter((item) => item.ends <= now);
    old.forEach((item) => this.remove(item));
    return old;
  }

  /** Take out everything, in order. */
  clear() {
    const all = this.#items;
    this.#items = [];
    this.#bytes = 0;
    return all;
  }
}

// -- rooms.js ----------------------------------------------------------------------------------

const RETRY = { min: 1000, max: 20_000 }; // ms between attempts to come back into a room that is full just now

/** A room as the page sees it: a name, what is known of it, and the client's verbs for it alone. */
class Room {
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
class Rooms {
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

// -- version.js --------------------------------------------------------------------------------

/** The version of this release; the build script holds it equal to package.json's. */
const VERSION = '0.1.0';

// -- options.js --------------------------------------------------------------------------------

const system = {
  now: () => Date.now(), // runs on while a computer sleeps, which a monotonic clock may not
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

const DEFAULTS = {
  url: undefined,
  room: undefined,
  rooms: undefined,
  session: undefined,
  getToken: undefined,
  messageCallback: undefined,
  protocols: undefined,
  WebSocket: undefined,
  connect: true,
  minDelay: 500,
  maxDelay: 20_000,
  connectTimeout: 20_000,
  pingInterval: 45_000,
  silence: undefined,
  queue: undefined,
  clock: system,
  page: undefined,
};
const QUEUE = { messages: 100, bytes: 262_144, age: 30_000 };

/**
 * The settings of a client, from the four arguments of 2015 or from one object. Raises TypeError for what cannot work.
 */
function readOptions(session, url, room, messageCallback) {
  const isObject = typeof session === 'object' && session !== null;
  const isAlone = url === undefined && room === undefined && messageCallback === undefined;
  const given = isObject && isAlone ? session : { session, url, room, messageCallback };
  for (const name of Object.keys(given)) {
    if (!(name in DEFAULTS)) {
      throw new TypeError(`no option ${name}; a session that is an object is given as {session: {...}}`);
    }
  }
  const settings = { ...DEFAULTS, ...defined(given) };
  settings.queue = { ...QUEUE, ...defined(settings.queue ?? {}) };
  settings.page ??= globalThis;
  settings.WebSocket ??= settings.page.WebSocket;
  if (typeof settings.WebSocket !== 'function') {
    throw new TypeError('there is no WebSocket here (Node has one since 22): give the option WebSocket');
  }
  for (const name of ['getToken', 'messageCallback']) {
    if (settings[name] !== undefined && typeof settings[name] !== 'function') {
      throw new TypeError(`${name} is a function, not ${typeof settings[name]}`);
    }
  }
  if (!(settings.pingInterval > 0)) settings.pingInterval = Infinity; // 0: never
  settings.url = resolveUrl(settings.url, settings.page);
  settings.rooms = firstRooms(settings);
  return settings;
}

/** An option that is given as undefined, or null as the fourth argument was in some pages, is not given. */
function defined(given) {
  return Object.fromEntries(Object.entries(given).filter(([name, value]) =>
    value !== undefined && (value !== null || name === 'room' || name === 'session')));
}

/** `room` before `rooms`; without both it is the address of the page, and a worker or a program has no room then. */
function firstRooms({ room, rooms, page }) {
  if (room === undefined && rooms === undefined) return page.document && page.location ? [page.location.href] : [];
  return [...new Set([room, ...(rooms ?? [])])].filter((name) => name !== undefined && name !== null && name !== '');
}

// -- zephclient.js -----------------------------------------------------------------------------

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
function Zephclient(...options) {
  return Reflect.construct(Client, options, new.target ?? Zephclient);
}
Zephclient.prototype = Client.prototype;
Client.prototype.constructor = Zephclient;
Zephclient.version = VERSION;
Zephclient.ZephError = ZephError;

export { Zephclient, ZephError, Zephclient as default };
