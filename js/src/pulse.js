const PROBE = 5000; // ms that a server has to answer a ping which was sent because of a doubt
const LATE = 2000; // ms: a timer that rings later than this tells that the page slept or was throttled

/**
 * Sees to it that both sides hear something: raises `silence` when the server says nothing for too long, asks for a
 * `ping` when this side said nothing. Looks at times, never counts ticks: hidden pages get their timers late.
 */
export class Pulse {
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
