import { advice, backoff } from './advice.js';
import { ZephError } from './errors.js';
import { Page } from './page.js';
import { Pulse } from './pulse.js';

/** Where each state may lead. The state event tells every step; `waiting` to `waiting` is a new date. */
export const TRANSITIONS = {
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
export class Link {
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
