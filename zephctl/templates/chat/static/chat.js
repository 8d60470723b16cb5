/** A chat: rooms, people, messages. The client keeps the connection; this page says and shows. */

import Zephclient from './zephclient.esm.js';
import { Log } from './log.js';
import { $, face, listOthers, listPeople, listRooms, make, showState, toast } from './view.js';

const client = new Zephclient({ room: null, connect: false });
const rooms = new Map(); // name -> {log, unread, users, total}, in the order of joining
let active = null; // the room that is looked at
let me = '';

// -- what the server says ---------------------------------------------------------------------------------------------

client.subscribe('chat', (said, { room }) => {
  if (!rooms.get(room) || !add(room, said)) return;
  const isSeen = room === active && !document.hidden;
  if (!isSeen && said.from !== me) rooms.get(room).unread++;
  draw();
});

client.on('state', (event) => {
  showState(event, () => client.connect());
  $('text').disabled = $('send').disabled = event.state === 'closed';
});

client.on('welcome', () => {
  for (const [name, { log }] of rooms) if (!log.isReady) enter(name);
  lookAround();
});

client.on('presence', ({ room: name, type, username, users, total }) => {
  const room = rooms.get(name);
  if (!room) return;
  if (type === 'list') {
    Object.assign(room, { users, total });
  } else {
    room.log.note(type === 'join' ? `${username} came in` : `${username} left`);
  }
  draw();
});

// After a break: the missed messages follow by themselves, or they have to be fetched.
client.on('recovered', ({ room: name, recovered, missed }) => {
  const room = rooms.get(name);
  if (!recovered) fetchRecent(name);
  else if (missed) room?.log.note(missed === 1 ? 'One message came meanwhile' : `${missed} messages came meanwhile`);
});

client.on('error', (error) => toast(error.message));

client.on('reloaded', ({ modules, pages }) => {
  const again = pages.length ? ['Load the page again', () => location.reload()] : undefined;
  toast(`reloaded ${[...modules, ...pages].join(', ')}`, again);
});

// -- rooms ------------------------------------------------------------------------------------------------------------

/** Look at a room, and be in it from now on. */
function open(name) {
  if (!rooms.has(name)) {
    const log = new Log(name, (isNewer) => { if (name === active) $('newer').hidden = !isNewer; });
    rooms.set(name, { log, unread: 0, users: [], total: 0 });
    $('logs').append(log.element);
    if (client.state === 'connected') enter(name);
  }
  active = name;
  for (const [other, { log }] of rooms) log.show(other === name);
  $('newer').hidden = rooms.get(name).log.isAtEnd;
  see();
}

async function enter(name) {
  try {
    await client.join(name);
    await fetchRecent(name);
  } catch (error) {
    if (error.code === 'closed' || !rooms.has(name)) return; // it is joined when somebody comes back, or was left
    toast(`${name}: ${error.message}`);
    forget(name);
  }
}

async function fetchRecent(name) {
  const recent = await client.request('recent', null, { room: name }).catch(() => null);
  if (!recent || !rooms.has(name)) return; // the connection broke again: the next one asks again
  for (const said of recent) add(name, said);
  rooms.get(name).log.isReady = true;
}

function leave(name) {
  client.leave(name);
  forget(name);
}

function forget(name) {
  rooms.get(name)?.log.element.remove();
  rooms.delete(name);
  if (name === active) open(rooms.keys().next().value ?? 'lobby');
  else draw();
}

/** Which other rooms are there? */
async function lookAround() {
  const found = await client.request('rooms').catch(() => []);
  listOthers(found.filter(({ name }) => !rooms.has(name)), open);
}

// -- messages ---------------------------------------------------------------------------------------------------------

function add(room, said) {
  const { id, from, key, at = Date.now() / 1000 } = said ?? {};
  return rooms.get(room).log.add({ id, from, key, at, text: String(said?.text ?? said) }, from === me);
}

/** Say it; the key is how the message is known again when the server says it to everybody, also after a break. */
async function say(room, text) {
  const { log } = rooms.get(room);
  const key = Math.random().toString(36).slice(2);
  log.wait(key, text);
  try {
    await client.request('chat', { text, key }, { room, timeout: 120_000 });
    log.settle(key);
  } catch (error) {
    const why = error.code === 'connection-lost' ? 'Perhaps not sent: the connection broke.' : `Not sent: ${error.message}.`;
    log.fail(key, why, () => {
      log.settle(key);
      say(room, text);
    });
  }
}

// -- what a person sees and does --------------------------------------------------------------------------------------

function draw() {
  const room = rooms.get(active);
  const unread = [...rooms.values()].reduce((sum, one) => sum + one.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ''}${active} · Chat`;
  $('title').textContent = active;
  $('text').placeholder = `Message to ${active}`;
  listRooms(rooms, active, { show: (name) => { open(name); focusText(); }, leave });
  listPeople(room.users, room.total, me);
  remember('rooms', JSON.stringify([...rooms.keys()]));
  remember('room', active);
}

/** The room in front was seen. */
function see() {
  if (!document.hidden) rooms.get(active).unread = 0;
  draw();
}

function focusText() {
  if (matchMedia('(pointer: fine)').matches) $('text').focus(); // elsewhere a keyboard would cover the messages
}

/** Be somebody. With another name one leaves and comes again. */
function be(name) {
  me = name;
  remember('name', name);
  $('me').replaceChildren(face(name), make('span', {}, name), make('span', { className: 'unseen' }, ', change your name'));
  client.close();
  client.session = { id: name, username: name };
  client.connect();
}

function remember(key, value) {
  try {
    sessionStorage.setItem(key, value); // of this window: another one may be somebody else
  } catch { /* a browser that keeps nothing */ }
}

function remembered(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}

function submitText() {
  const text = $('text').value.trim();
  if (!text || $('text').disabled) return;
  say(active, text);
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

$('join').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = $('join-name').value.trim();
  $('join-name').value = '';
  if (!name) return;
  open(name);
  focusText();
  lookAround();
});

$('people-button').addEventListener('click', () => {
  const isOpen = document.body.classList.toggle('with-people');
  $('people-button').setAttribute('aria-expanded', String(isOpen));
});

$('newer').addEventListener('click', () => rooms.get(active).log.toEnd());
$('me').addEventListener('click', askName);
addEventListener('resize', () => rooms.get(active).log.isAtEnd && rooms.get(active).log.toEnd());
document.addEventListener('visibilitychange', () => !document.hidden && see());

document.addEventListener('keydown', (event) => {
  if (!event.altKey || !['ArrowUp', 'ArrowDown'].includes(event.key)) return;
  event.preventDefault();
  const names = [...rooms.keys()];
  const step = event.key === 'ArrowUp' ? names.length - 1 : 1;
  open(names[(names.indexOf(active) + step) % names.length]);
});

function askName() {
  $('name').value = me;
  $('who').returnValue = '';
  $('who').showModal();
  $('name').select();
}

$('who').addEventListener('close', () => {
  const name = $('who').returnValue === 'in' ? $('name').value.trim() : '';
  if (name && name !== me) be(name);
  else if (!me) askName(); // one has to be somebody
  focusText();
});

// -- the beginning ----------------------------------------------------------------------------------------------------

const asked = new URLSearchParams(location.search).get('room');
const front = asked || remembered('room') || 'lobby';
const before = JSON.parse(remembered('rooms') ?? '[]');
for (const name of before) open(name);
open(front);
if (remembered('name')) be(remembered('name'));
else askName();
setInterval(() => !document.hidden && client.state === 'connected' && lookAround(), 10_000);
$('join-name').addEventListener('focus', lookAround);
