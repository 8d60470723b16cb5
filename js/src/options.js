import { resolveUrl } from './page.js';

const system = {
  now: () => Date.now(), // runs on while a computer sleeps, which a monotonic clock may not
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: () => Math.random(),
};

const DEFAULTS = {
  url: undefined,
  room: undefined,
  rooms: undefined,
  session: undefined,
  getToken: undefined,
  messageCallback: undefined,
  protocols: undefined,
  WebSocket: undefined,
  connect: true,
  minDelay: 500,
  maxDelay: 20_000,
  connectTimeout: 20_000,
  pingInterval: 45_000,
  silence: undefined,
  queue: undefined,
  clock: system,
  page: undefined,
};
const QUEUE = { messages: 100, bytes: 262_144, age: 30_000 };

/**
 * The settings of a client, from the four arguments of 2015 or from one object. Raises TypeError for what cannot work.
 */
export function readOptions(session, url, room, messageCallback) {
  const isObject = typeof session === 'object' && session !== null;
  const isAlone = url === undefined && room === undefined && messageCallback === undefined;
  const given = isObject && isAlone ? session : { session, url, room, messageCallback };
  for (const name of Object.keys(given)) {
    if (!(name in DEFAULTS)) {
      throw new TypeError(`no option ${name}; a session that is an object is given as {session: {...}}`);
    }
  }
  const settings = { ...DEFAULTS, ...defined(given) };
  settings.queue = { ...QUEUE, ...defined(settings.queue ?? {}) };
  settings.page ??= globalThis;
  settings.WebSocket ??= settings.page.WebSocket;
  if (typeof settings.WebSocket !== 'function') {
    throw new TypeError('there is no WebSocket here (Node has one since 22): give the option WebSocket');
  }
  for (const name of ['getToken', 'messageCallback']) {
    if (settings[name] !== undefined && typeof settings[name] !== 'function') {
      throw new TypeError(`${name} is a function, not ${typeof settings[name]}`);
    }
  }
  if (!(settings.pingInterval > 0)) settings.pingInterval = Infinity; // 0: never
  settings.url = resolveUrl(settings.url, settings.page);
  settings.rooms = firstRooms(settings);
  return settings;
}

/** An option that is given as undefined, or null as the fourth argument was in some pages, is not given. */
function defined(given) {
  return Object.fromEntries(Object.entries(given).filter(([name, value]) =>
    value !== undefined && (value !== null || name === 'room' || name === 'session')));
}

/** `room` before `rooms`; without both it is the address of the page, and a worker or a program has no room then. */
function firstRooms({ room, rooms, page }) {
  if (room === undefined && rooms === undefined) return page.document && page.location ? [page.location.href] : [];
  return [...new Set([room, ...(rooms ?? [])])].filter((name) => name !== undefined && name !== null && name !== '');
}
