/** Call a function of the page: what it raises is reported as if nobody stood between, and nothing else is harmed. */
export function callSafely(call, values) {
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
export class Listeners {
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
export class Events {
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
