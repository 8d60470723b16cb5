/** Small pieces of the page: elements, faces, lists, the state of the connection, toasts. */

export const $ = (id) => document.getElementById(id);

/** An element. What people wrote only ever becomes text, never HTML. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A coloured circle with the initials of a name; the same name has the same colour everywhere. */
export function face(name) {
  const words = name.trim().split(/\s+/).slice(0, 2);
  const initials = words.map((word) => Array.from(word)[0] ?? '').join('');
  const element = make('span', { className: 'face', 'aria-hidden': 'true' }, initials.toUpperCase());
  element.style.setProperty('--hue', hueOf(name));
  return element;
}

/** A colour of the circle, in degrees. */
export function hueOf(name) {
  let number = 7;
  for (const character of name) number = (number * 37 + character.codePointAt(0)) % 9973;
  return Math.round(number * 137.508) % 360; // the golden angle: neighbours are far apart
}

/** The rooms one is in: a button to look at each, and one to leave it. */
export function listRooms(rooms, active, { show, leave }) {
  $('rooms').replaceChildren(...[...rooms].map(([name, { unread }]) => {
    const open = make('button', { className: 'room', onclick: () => show(name) }, make('span', {}, name));
    if (name === active) open.setAttribute('aria-current', 'true');
    if (unread) {
      const count = unread > 99 ? '99+' : String(unread);
      open.append(make('b', { className: 'badge' }, count, make('span', { className: 'unseen' }, ' new messages')));
    }
    const close = make('button', { className: 'leave', 'aria-label': `Leave ${name}`, onclick: () => leave(name) }, '×');
    return make('li', {}, open, close);
  }));
}

/** Rooms that others are in. */
export function listOthers(rooms, join) {
  $('elsewhere').hidden = rooms.length === 0;
  $('others').replaceChildren(...rooms.map(({ name, users }) => {
    const people = make('small', {}, users === 1 ? '1 person' : `${users} people`);
    return make('li', {}, make('button', { className: 'room', onclick: () => join(name) }, make('span', {}, name), people));
  }));
}

/** Who is in the room that is looked at. *total* is greater than the list in a very large room. */
export function listPeople(users, total, me) {
  $('people-title').textContent = `Here · ${total}`;
  $('people-button').textContent = `${total} here`;
  const sorted = [...users].sort((one, other) => (other === me) - (one === me) || one.localeCompare(other));
  $('people-list').replaceChildren(...sorted.map((name) =>
    make('li', {}, face(name), make('span', {}, name), ...(name === me ? [make('small', {}, 'you')] : []))));
}

let countdown;

/** How the connection is: a word for everybody, and a banner with what a person can do about it. */
export function showState({ state, code, reason, retryIn, attempt }, connect) {
  clearInterval(countdown);
  const isOffline = state === 'waiting' && retryIn === null;
  const word = {
    connected: 'Connected',
    connecting: attempt > 1 ? 'Reconnecting' : 'Connecting',
    waiting: isOffline ? 'Offline' : 'Reconnecting',
    closed: 'Disconnected',
  }[state];
  if ($('state').textContent !== word) $('state').textContent = word;
  document.body.dataset.state = isOffline ? 'offline' : state;

  if (state === 'connecting') return; // the banner stays as it is: it would flicker
  $('banner').hidden = state === 'connected';
  $('banner-button').onclick = connect;
  $('banner-button').textContent = state === 'closed' ? 'Come back' : 'Try now';
  if (state === 'closed') {
    $('banner-text').textContent = whyClosed(code, reason);
  } else if (isOffline) {
    $('banner-text').textContent = 'You are offline. What you write is sent when the network is back.';
  } else if (state === 'waiting') {
    const due = Date.now() + retryIn;
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((due - Date.now()) / 1000));
      $('banner-text').textContent = `Reconnecting in ${seconds} s. What you write is sent then.`;
    };
    tell();
    countdown = setInterval(tell, 250);
  }
}

function whyClosed(code, reason) {
  if (code === 4003) return 'The server does not know you. Choose another name.';
  if (code === 4009) return 'You are here in too many windows. Close one.';
  return reason ? `You were disconnected: ${reason}` : 'You are disconnected.';
}

/** A message for some seconds; with *action*, a word and a function, it has a button. */
export function toast(text, action) {
  const element = make('div', { className: 'toast' }, make('span', {}, text));
  if (action) element.append(make('button', { type: 'button', onclick: action[1] }, action[0]));
  $('toasts').append(element);
  setTimeout(() => element.remove(), 8000);
}
