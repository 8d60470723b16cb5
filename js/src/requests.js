import { ZephError } from './errors.js';

const LONGEST_TIMER = 2 ** 31 - 1; // ms; a longer one would ring at once

/** The questions that wait for an answer, by id. Each is settled once: by its answer, time, its signal, or a break. */
export class Requests {
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
export function abortError(what, signal) {
  return new ZephError('aborted', `${what} was aborted`, { cause: signal?.reason });
}
