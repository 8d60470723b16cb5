/** Never run: `tsc` says whether the declarations allow what they should, and refuse what they should. */
import Default, {
  Zephclient,
  ZephError,
  type ErrorCode,
  type Message,
  type Options,
  type PresenceEvent,
  type Room,
  type State,
} from 'zephclient';

declare function exactly<Expected>(value: Expected): void;
interface Line {
  text: string;
}

// -- the constructor of 2015, its options, and without new

new Zephclient();
new Zephclient('session');
new Zephclient('session', 'wss://domain.tld:8080/foo', 'lobby', (event) => exactly<MessageEvent>(event));
new Zephclient(undefined, undefined, 'lobby');
new Zephclient(null, null, null, null);
const plain: Zephclient = Zephclient('session');
const same: typeof Zephclient = Default;
class Chat extends Zephclient {
  shout(text: string): boolean {
    return this.send('chat', text.toUpperCase());
  }
}
new Chat({ url: '/ws' }).shout('hello');

const options: Options = {
  url: new URL('wss://domain.tld/ws'),
  room: 'lobby',
  rooms: ['a', 'b'],
  session: { id: 7, username: 'ann' },
  getToken: async () => (await fetch('/token')).text(),
  protocols: ['v1'],
  WebSocket: globalThis.WebSocket,
  connect: false,
  minDelay: 500,
  maxDelay: 20_000,
  connectTimeout: 20_000,
  pingInterval: 45_000,
  silence: 35_000,
  queue: { messages: 10, bytes: 1000, age: 1000 },
  clock: { now: () => 0, setTimeout: (_call, _ms) => 1, clearTimeout: () => {}, random: () => 0 },
  page: {},
};
const client = new Zephclient(options);
// @ts-expect-error there is no such option
new Zephclient({ retries: 5 });
// @ts-expect-error a room is a text
new Zephclient({ room: 5 });

// -- messages

exactly<boolean>(client.send('chat', { text: 'hello' }));
exactly<boolean>(client.send('chat'));
exactly<boolean>(client.send('chat', 1, { room: 'news' }));
// @ts-expect-error a task has a name
client.send();
// @ts-expect-error an unknown option
client.send('chat', 1, { volatile: true });

const off = client.subscribe<Line>('chat', (data, message) => {
  exactly<string>(data.text);
  exactly<Message<Line>>(message);
  exactly<string | undefined>(message.room);
  exactly<number | undefined>(message.offset);
});
exactly<void>(off());
client.subscribe('chat', () => {});
const hear = (data: unknown) => void data;
client.subscribe('chat', hear);
exactly<boolean>(client.unsubscribe('chat', hear));

const control = new AbortController();
const { signal } = control;
const asked: Promise<Line> = client.request<Line>('echo', { x: 1 }, { timeout: 1000, signal, room: 'a' });
client.request('echo').then((data) => data.anything);
// @ts-expect-error a time is a number
client.request('echo', 1, { timeout: '1 s' });

// -- rooms

async function rooms(): Promise<void> {
  const room: Room = await client.join('news');
  await client.join('news', { recover: false });
  await client.join('news', { recover: { epoch: '1f6a2b', offset: 41 } });
  // @ts-expect-error an offset means nothing without its epoch
  await client.join('news', { recover: { offset: 41 } });
  exactly<string>(room.name);
  exactly<boolean>(room.joined);
  exactly<string[]>(room.users);
  exactly<number>(room.total);
  exactly<string | undefined>(room.epoch);
  exactly<number | undefined>(room.offset);
  exactly<boolean>(room.send('chat', 1));
  exactly<Line>(await room.request<Line>('echo', 1, { timeout: 5 }));
  exactly<() => void>(room.subscribe<Line>('chat', (data) => exactly<string>(data.text)));
  room.on('presence', (event) => exactly<PresenceEvent>(event));
  room.on('recovered', ({ missed }) => exactly<number | null>(missed));
  // @ts-expect-error the state is not of a room
  room.on('state', () => {});
  exactly<string[]>(await room.presence());
  exactly<string[]>(await client.presence('news', { timeout: 100, signal: control.signal }));
  exactly<void>(await room.leave());
  exactly<void>(await client.leave('news'));
}

// -- events

client.on('state', ({ state, previous, code, reason, retryIn, attempt }) => {
  exactly<State>(state);
  exactly<State>(previous);
  exactly<number | null>(code);
  exactly<string>(reason);
  exactly<number | null>(retryIn);
  exactly<number>(attempt);
});
client.on('welcome', ({ cid, user, heartbeat }) => exactly<[string, string, number]>([cid, user.username, heartbeat]));
client.on('presence', (event) => {
  if (event.type === 'list') exactly<readonly string[]>(event.users);
  else exactly<string>(event.username);
});
client.on('recovered', ({ room, recovered }) => exactly<[string, boolean]>([room, recovered]));
client.on('message', (message) => exactly<string>(message.task));
client.on('reloaded', ({ modules, pages }) => exactly<readonly string[]>([...modules, ...pages]));
client.on('error', (error) => {
  exactly<ErrorCode>(error.code);
  exactly<boolean>(error.temporary);
  exactly<string | undefined>(error.task ?? error.room);
  exactly<number | null | undefined>(error.closeCode);
  for (const { task, data, room } of error.dropped ?? []) client.send(task, data, room === undefined ? {} : { room });
  if (error.code === 'overloaded') throw error;
});
const count = (event: { state: State }) => void event.state;
exactly<() => void>(client.on('state', count));
exactly<boolean>(client.off('state', count));
// @ts-expect-error there is no such event
client.on('messages', () => {});

// -- the rest

client.connect();
client.close();
client.close(4100, 'enough');
client.session = 'new';
exactly<string | null>(client.cid);
exactly<string[]>(client.rooms);
exactly<string | number | null | undefined>(client.user?.id);
const state: State = client.state;
// @ts-expect-error only the client changes its state
client.state = 'closed';
exactly<string>(Zephclient.version);
exactly<boolean>(new Zephclient.ZephError('code', 'message', { room: 'a' }) instanceof ZephError);
exactly<Zephclient>(new window.Zephclient());

export { asked, plain, rooms, same, state };
