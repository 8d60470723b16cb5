/** The page of a room. The client keeps the connection and knows who is logged in; this page says and shows. */

import { Log } from './log.js';
import { $, face, listPeople, make, showState, toast } from './view.js';

const { me, room, login } = JSON.parse($('page').textContent);
const client = window.zephserver.connect({ room });
const log = new Log(room, (isNewer) => { $('newer').hidden = !isNewer; });
$('logs').append(log.element);
log.show(true);
$('me').replaceChildren(face(me), make('span', {}, me));

// -- what the server says ---------------------------------------------------------------------------------------------

client.subscribe('chat', (said) => add(said));
client.subscribe('notice', (text) => toast(String(text)));

client.subscribe('rooms', ({ name, url }) => {
  const link = make('a', { className: 'room', href: url }, make('span', {}, name));
  if (![...$('rooms').querySelectorAll('a')].some((one) => one.href === link.href)) $('rooms').append(make('li', {}, link));
});

client.on('state', (event) => {
  showState(event, () => client.connect());
  $('text').disabled = $('send').disabled = event.state === 'closed';
  if (event.state !== 'closed' || event.code !== 4003) return;
  $('banner-text').textContent = 'You are logged out.';
  $('banner-button').textContent = 'Log in';
  $('banner-button').onclick = () => location.assign(`${login}?next=${encodeURIComponent(location.pathname)}`);
});

client.on('welcome', () => {
  if (!log.isReady) fetchRecent();
});

client.on('presence', ({ type, username, users, total }) => {
  if (type === 'list') listPeople(users, total, me);
  else log.note(type === 'join' ? `${username} came in` : `${username} left`);
});

// After a break: the missed messages follow by themselves, or they have to be fetched.
client.on('recovered', ({ recovered, missed }) => {
  if (!recovered) fetchRecent();
  else if (missed) log.note(missed === 1 ? 'One message came meanwhile' : `${missed} messages came meanwhile`);
});

client.on('error', (error) => toast(error.message));

// -- messages ---------------------------------------------------------------------------------------------------------

async function fetchRecent() {
  const recent = await client.request('recent').catch(() => null);
  if (!recent) return; // the connection broke again: the next one asks again
  recent.forEach(add);
  log.isReady = true;
}

function add(said) {
  log.add(said, said.from === me);
}

/** Say it; the key is how the message is known again when the server says it to everybody, also after a break. */
async function say(text) {
  const key = Math.random().toString(36).slice(2);
  log.wait(key, text);
  try {
    await client.request('chat', { text, key }, { timeout: 120_000 });
    log.settle(key);
  } catch (error) {
    const why = error.code === 'connection-lost' ? 'Perhaps not sent: the connection broke.' : `Not sent: ${error.message}.`;
    log.fail(key, why, () => {
      log.settle(key);
      say(text);
    });
  }
}

// -- what a person does -----------------------------------------------------------------------------------------------

function submitText() {
  const text = $('text').value.trim();
  if (!text || $('text').disabled) return;
  say(text);
  $('text').value = '';
}

$('write').addEventListener('submit', (event) => {
  event.preventDefault();
  submitText();
});

$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submitText();
});

$('people-button').addEventListener('click', () => {
  const isOpen = document.body.classList.toggle('with-people');
  $('people-button').setAttribute('aria-expanded', String(isOpen));
});

$('newer').addEventListener('click', () => log.toEnd());
addEventListener('resize', () => log.isAtEnd && log.toEnd());
if (matchMedia('(pointer: fine)').matches) $('text').focus(); // elsewhere a keyboard would cover the messages
