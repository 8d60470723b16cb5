const encoder = new TextEncoder();

/** What waits for a connection: bounded by count, bytes and age. When it is full, the newest is refused. */
export class Queue {
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
