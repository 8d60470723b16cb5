/** A live poll: request() for the vote, presence for who looks at it, recovery for what was missed. */

import Zephclient from './zephclient.esm.js';

const ROOM = 'poll';
const $ = (id) => document.getElementById(id);
const me = whoAmI();
const client = new Zephclient({ session: { id: me.id, username: me.name }, room: ROOM });
let poll = null; // {question, options, counts, mine}
let asked = null; // the option whose vote is under way

// -- what the server says ---------------------------------------------------------------------------------------------

client.on('welcome', () => { if (!poll) fetchPoll(); });

client.subscribe('vote', ({ counts }) => {
  if (poll) poll.counts = counts;
  draw();
});

client.on('presence', ({ type, users, total }) => {
  if (type === 'list') drawPeople(users, total);
});

// After a break: the missed votes follow by themselves, or the whole poll has to be fetched.
client.on('recovered', ({ recovered, missed }) => {
  if (!recovered) {
    fetchPoll();
    toast('Back again; the poll was fetched anew');
  } else if (missed) {
    toast(missed === 1 ? 'Back again; one vote came meanwhile' : `Back again; ${missed} votes came meanwhile`);
  }
});

client.on('reloaded', ({ modules, pages }) => {
  toast(`reloaded ${[...modules, ...pages].join(', ')}`);
  fetchPoll(); // the question may be another one
});

client.on('error', (error) => toast(error.message));

// -- what this page asks ----------------------------------------------------------------------------------------------

async function fetchPoll() {
  try {
    poll = await client.request('poll', null, { timeout: 30_000 });
    draw();
  } catch (error) {
    if (error.temporary && error.code !== 'connection-lost') setTimeout(fetchPoll, 1000); // else welcome or recovered asks
  }
}

/** Vote. A vote replaces the one before it, so it may simply be given again when nobody knows whether it was heard. */
async function vote(option) {
  asked = option;
  draw();
  try {
    const { mine } = await client.request('vote', { option }, { timeout: 30_000 });
    poll.mine = mine;
  } catch (error) {
    if (error.code === 'connection-lost' && asked === option) return vote(option); // waits for the next connection
    toast(`Your vote was not taken: ${error.message}`);
    if (error.code === 'unknown-option') fetchPoll();
  }
  if (asked === option) asked = null;
  draw();
}

// -- what a person sees -----------------------------------------------------------------------------------------------

function draw() {
  if (!poll) return;
  const total = poll.options.reduce((sum, option) => sum + (poll.counts[option] ?? 0), 0);
  document.title = $('question').textContent = poll.question;
  $('hint').textContent = poll.mine ? 'You may change your mind at any time.' : 'Choose one.';
  $('total').textContent = total === 1 ? '1 vote' : `${total} votes`;
  if ([...$('options').children].map((button) => button.name).join('\n') !== poll.options.join('\n')) {
    $('options').replaceChildren(...poll.options.map(optionButton));
  }
  for (const button of $('options').children) {
    const count = poll.counts[button.name] ?? 0;
    button.style.setProperty('--share', total ? count / total : 0);
    button.setAttribute('aria-pressed', String(poll.mine === button.name));
    button.setAttribute('aria-busy', String(asked === button.name));
    button.querySelector('.count').textContent = `${count}${total ? ` · ${Math.round((100 * count) / total)} %` : ''}`;
  }
}

function optionButton(option) {
  const button = document.createElement('button');
  button.className = 'option';
  button.type = 'button';
  button.name = option;
  button.addEventListener('click', () => vote(option));
  for (const [name, text] of [['mark', ''], ['name', option], ['count', '']]) {
    const part = document.createElement('span');
    part.className = name;
    part.textContent = text; // as text: never read as HTML
    button.append(part);
  }
  return button;
}

function drawPeople(users, total) {
  $('people-title').textContent = total === 1 ? 'Only you look at it now' : `${total} people look at it now`;
  $('people').replaceChildren(...users.map((name) => {
    const item = document.createElement('li');
    item.className = name === me.name ? 'me' : '';
    item.textContent = name;
    return item;
  }));
}

let countdown;
client.on('state', ({ state, retryIn, code, reason }) => {
  clearInterval(countdown);
  document.body.dataset.state = state;
  const due = Date.now() + retryIn;
  const tell = () => {
    const waits = retryIn === null ? 'Offline' : `Reconnecting in ${Math.max(0, Math.ceil((due - Date.now()) / 1000))} s`;
    const closed = code === 4004 ? `Disconnected: ${reason}` : 'Disconnected';
    $('state').textContent = { connected: 'Live', connecting: 'Connecting', waiting: waits, closed }[state];
  };
  tell();
  if (state === 'waiting' && retryIn !== null) countdown = setInterval(tell, 1000);
});

function toast(text) {
  const element = document.createElement('div');
  element.className = 'toast';
  element.textContent = text;
  $('toasts').append(element);
  setTimeout(() => element.remove(), 6000);
}

/** Somebody new in each window, and the same one after the page was loaded again. */
function whoAmI() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  let known = null;
  try {
    known = JSON.parse(sessionStorage.getItem('me'));
  } catch { /* a browser that keeps nothing */ }
  if (!known) {
    const first = ['Quiet', 'Brave', 'Hungry', 'Lucky', 'Early', 'Curious', 'Gentle', 'Swift'];
    const second = ['Otter', 'Heron', 'Badger', 'Lynx', 'Finch', 'Hare', 'Toad', 'Moth'];
    known = { id: Math.random().toString(36).slice(2), name: `${pick(first)} ${pick(second)}` };
    try {
      sessionStorage.setItem('me', JSON.stringify(known));
    } catch { /* then one is somebody new after each reload */ }
  }
  return known;
}

const name = document.createElement('strong');
name.textContent = me.name;
$('me').append('You are ', name);
