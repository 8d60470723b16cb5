/** The messages of one room. */

import { face, hueOf, make } from './view.js';

const MOST = 500; // messages kept on the page
const TOGETHER = 300; // seconds: messages of one person within this time stand together
const NEAR = 60; // pixels from the end that still count as the end

export class Log {
  #waiting = new Map(); // key -> a message of one's own that the server has not said yet
  #numbers = new Set(); // of the messages that are here
  isReady = false; // whether the messages from before one came are here
  isAtEnd = true;

  constructor(room, onNewer) {
    const label = `Messages in ${room}`;
    this.element = make('div', { className: 'log', tabIndex: 0, hidden: true, role: 'log', 'aria-label': label });
    this.onNewer = onNewer;
    this.element.addEventListener('scroll', () => {
      const { scrollHeight, scrollTop, clientHeight } = this.element;
      this.isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
      if (this.isAtEnd) onNewer(false);
    });
  }

  /** A message of the server, at the place that its number gives it; false when it is here already. */
  add({ id, from, text, at, key }, isMine) {
    if (id !== undefined && this.#numbers.has(id)) return false;
    if (isMine && key) this.settle(key);
    this.#numbers.add(id);
    const item = isMine ? mine(text, at) : theirs(from, text, at);
    Object.assign(item.dataset, { from: from ?? '', at, id: id ?? '' });
    let before = this.element.lastElementChild;
    while (before && (before.dataset.key || Number(before.dataset.id) > id)) before = before.previousElementSibling;
    this.#insert(item, before);
    return true;
  }

  /** A line about the room. */
  note(text) {
    if (this.isReady) this.#insert(make('div', { className: 'note' }, text), this.element.lastElementChild);
  }

  /** One's own message, until the server has said it. */
  wait(key, text) {
    const item = mine(text, Date.now() / 1000);
    item.classList.add('waiting');
    Object.assign(item.dataset, { key, from: '', at: Date.now() / 1000 });
    this.#waiting.set(key, item);
    this.isAtEnd = true;
    this.#insert(item, this.element.lastElementChild);
  }

  /** The server has said it. */
  settle(key) {
    this.#waiting.get(key)?.remove();
    this.#waiting.delete(key);
  }

  /** It was not sent, as far as one knows. */
  fail(key, why, again) {
    const item = this.#waiting.get(key);
    if (!item) return;
    item.classList.replace('waiting', 'failed');
    item.append(make('p', { className: 'why' }, `${why} `, make('button', { type: 'button', onclick: again }, 'Send again')));
    this.#stay();
  }

  show(isShown) {
    this.element.hidden = !isShown;
    if (isShown) this.#stay();
  }

  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }

  #insert(item, before) {
    if (before) before.after(item);
    else this.element.prepend(item);
    group(item);
    if (item.nextElementSibling) group(item.nextElementSibling);
    while (this.element.childElementCount > MOST) this.element.firstElementChild.remove();
    this.#stay();
  }

  /** Whoever reads the end goes on reading the end; whoever reads further up is told. */
  #stay() {
    if (this.isAtEnd) this.toEnd();
    else this.onNewer(true);
  }
}

function theirs(from, text, at) {
  const by = make('p', { className: 'by' }, from || 'The server');
  const bubble = make('div', { className: 'bubble' }, by, ...words(text, at));
  const item = make('div', { className: 'message' }, face(from || '!'), bubble);
  item.style.setProperty('--hue', hueOf(from || '!'));
  return item;
}

function mine(text, at) {
  const by = make('p', { className: 'by unseen' }, 'You');
  return make('div', { className: 'message mine' }, make('div', { className: 'bubble' }, by, ...words(text, at)));
}

function words(text, at) {
  const date = new Date(at * 1000);
  const clock = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const time = make('time', { dateTime: date.toISOString(), title: date.toLocaleString() }, clock);
  return [make('p', { className: 'text' }, text, time)];
}

/** What stands together with the message before it, and where a day begins. */
function group(item) {
  const { from, at } = item.dataset;
  if (at === undefined) return;
  const before = item.previousElementSibling;
  const isSame = before?.dataset.from === from && before.classList.contains('mine') === item.classList.contains('mine');
  item.classList.toggle('follows', isSame && at - before.dataset.at < TOGETHER);
  const day = dayOf(at);
  const isNewDay = before?.dataset.at === undefined ? !before && day !== 'Today' : dayOf(before.dataset.at) !== day;
  if (isNewDay) item.dataset.day = day;
  else delete item.dataset.day;
}

function dayOf(at) {
  const date = new Date(at * 1000);
  if (date.toDateString() === new Date().toDateString()) return 'Today';
  return date.toLocaleDateString([], { weekday: 'long', day: 'numeric', month: 'long' });
}
