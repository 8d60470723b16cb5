import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { FakeClock, FakeNet, FakePage, ZephError, Zephclient, connected, make } from './fakes.mjs';

const NAMES = ['WebSocket', 'document', 'location', 'window'];

/** The global names of a browser page, for clients that get four arguments and nothing else. */
function browse(href) {
  const net = new FakeNet();
  const page = new FakePage(href);
  const values = { WebSocket: net.WebSocket, document: page.document, location: page.location, window: globalThis };
  for (const name of NAMES) {
    Object.defineProperty(globalThis, name, { value: values[name], configurable: true, writable: true });
  }
  return net;
}

const clients = [];
const keep = (client) => (clients.push(client), client);

afterEach(() => {
  clients.splice(0).forEach((client) => client.close());
  NAMES.forEach((name) => delete globalThis[name]);
});

test('without arguments it connects at once to /ws of the page, in the room of its address', () => {
  const net = browse('http://domain.tld/some/page?x=1#top');

  keep(new Zephclient());
  net.last.open();

  assert.equal(net.last.url, 'ws://domain.tld/ws');
  assert.deepEqual(net.last.sent, [{ session_id: null, room: 'http://domain.tld/some/page?x=1#top' }]);
});

test('an https page uses wss, and a port stays', () => {
  const net = browse('https://domain.tld:8443/');

  keep(new Zephclient());

  assert.equal(net.last.url, 'wss://domain.tld:8443/ws');
});

test('the four arguments of 2015 are session, url, room and messageCallback', () => {
  const net = browse('http://domain.tld/');
  const heard = [];

  const client = keep(new Zephclient('secret', 'wss://other.tld:8080/foo', 'lobby', (event) => heard.push(event)));
  net.last.open().welcome().hear({ task: 'chat', data: 1 });

  assert.equal(net.last.url, 'wss://other.tld:8080/foo');
  assert.deepEqual(net.last.sent, [{ session_id: 'secret', room: 'lobby' }]);
  assert.equal(heard.length, 2);
  assert.equal(heard[1].data, '{"task":"chat","data":1}');
  assert.throws(() => client.subscribe('chat', () => {}), /messageCallback of the constructor gets all messages/);
  assert.throws(() => client.unsubscribe('chat', () => {}), /messageCallback/);
});

test('each argument may be undefined or null', () => {
  const net = browse('http://domain.tld/');

  keep(new Zephclient(undefined, undefined, 'lobby', undefined));
  keep(new Zephclient(null, null, 'lobby', null));

  assert.deepEqual(net.sockets.map((socket) => socket.url), ['ws://domain.tld/ws', 'ws://domain.tld/ws']);
});

test('it may be called without new, and be extended', () => {
  const { net, clock, page } = make();
  class Chat extends Zephclient {
    shout(text) {
      return this.send('chat', text.toUpperCase());
    }
  }

  const plain = Zephclient({ url: 'ws://a/', WebSocket: net.WebSocket, clock, page });
  const chat = new Chat({ url: 'ws://a/', WebSocket: net.WebSocket, clock, page });

  assert.ok(plain instanceof Zephclient);
  assert.ok(chat instanceof Chat && chat instanceof Zephclient);
  assert.equal(chat.shout('hello'), true);
  assert.equal(plain.constructor, Zephclient);
});

test('one object holds options; a session that is an object goes in there', () => {
  const { net } = connected({ session: { id: 7, username: 'ann' }, room: undefined, rooms: ['a', 'b', 'a'] });

  assert.deepEqual(net.last.sent[0], { session_id: { id: 7, username: 'ann' }, room: 'a' });
  assert.deepEqual(net.last.sent.slice(1).map(({ msgtype, room }) => [msgtype, room]), [['join', 'b']]);
  assert.throws(() => new Zephclient({ id: 7, username: 'ann' }), /no option id; .*\{session: /);
});

test('an object as the first of several arguments is a session, as in 2015', () => {
  const net = browse('http://domain.tld/');

  keep(new Zephclient({ id: 7, username: 'ann' }, 'ws://other/'));
  net.last.open();

  assert.deepEqual(net.last.sent[0].session_id, { id: 7, username: 'ann' });
});

test('room null is no room', () => {
  const { net } = connected({ room: null });

  assert.deepEqual(net.last.sent, [{ session_id: null }]);
});

test('a worker has no page whose address could be a room, but a host', () => {
  const net = new FakeNet();
  const page = { location: new URL('https://domain.tld/worker.js'), WebSocket: net.WebSocket };

  new Zephclient({ page, clock: new FakeClock() });
  net.last.open();

  assert.equal(net.last.url, 'wss://domain.tld/ws');
  assert.deepEqual(net.last.sent, [{ session_id: null }]);
});

for (const [url, expected] of [
  ['/live', 'ws://example.com/live'],
  ['https://other.tld/ws', 'wss://other.tld/ws'],
  ['wss://other.tld/ws#part', 'wss://other.tld/ws'],
  [new URL('ws://other.tld/x?y=1'), 'ws://other.tld/x?y=1'],
]) {
  test(`the url ${url} means ${expected}`, () => {
    assert.equal(make({ url }).net.last.url, expected);
  });
}

test('what cannot work is refused by the constructor with a reason', () => {
  const net = new FakeNet();
  const good = { url: 'ws://a/', WebSocket: net.WebSocket, page: {} };

  assert.throws(() => new Zephclient({ ...good, url: undefined }), /give a url/);
  assert.throws(() => new Zephclient({ ...good, url: 'localhost:8080' }), /expected a url such as wss:/);
  assert.throws(() => new Zephclient({ ...good, url: 'not a url' }), TypeError);
  assert.throws(() => new Zephclient({ ...good, WebSocket: undefined }), /there is no WebSocket here/);
  assert.throws(() => new Zephclient({ ...good, getToken: 'token' }), /getToken is a function, not string/);
  assert.throws(() => new Zephclient({ ...good, messageCallback: 1 }), /messageCallback is a function, not number/);
  assert.throws(() => new Zephclient({ ...good, retries: 5 }), /no option retries/);
  assert.equal(net.sockets.length, 0);
});

test('protocols are handed to the WebSocket', () => {
  assert.deepEqual(make({ protocols: ['a', 'b'] }).net.last.protocols, ['a', 'b']);
});

test('with connect: false it waits for connect()', () => {
  const { client, net } = make({ connect: false });
  assert.equal(client.state, 'closed');
  assert.equal(net.sockets.length, 0);

  client.connect();

  assert.equal(client.state, 'connecting');
  assert.equal(net.sockets.length, 1);
});

test('who one is stands in cid and user', () => {
  const { client, net } = make();
  assert.deepEqual([client.cid, client.user], [null, null]);

  net.last.open().welcome();
  assert.deepEqual([client.cid, client.user], ['cid1', { id: 7, username: 'ann' }]);

  net.last.end();
  assert.deepEqual([client.cid, client.user], [null, { id: 7, username: 'ann' }]);
});

test('it has a version, and its error class at hand', () => {
  assert.match(Zephclient.version, /^\d+\.\d+\.\d+/);
  assert.ok(new Zephclient.ZephError('x', 'y') instanceof Error);
  assert.equal(new ZephError('overloaded', 'y').temporary, true);
});

test('document.cookie is never read', () => {
  const { page, net, clock } = make();
  Object.defineProperty(page.document, 'cookie', { get: () => assert.fail('it was read') });

  new Zephclient({ url: 'ws://a/', WebSocket: net.WebSocket, clock, page });
  net.last.open().welcome();
});
