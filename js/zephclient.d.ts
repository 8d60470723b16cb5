/** Anything that JSON can carry; what JSON.stringify() leaves out is left out. */
export type Data = unknown;

/** `connected`: the server knows who one is. `waiting`: for the next attempt. `closed`: until connect() is called. */
export type State = 'connecting' | 'connected' | 'waiting' | 'closed';

export interface User {
  readonly id: string | number | null;
  readonly username: string;
}

/** What a task said. `room` and `offset` are there when it was said to a room, and the room keeps a history. */
export interface Message<T = any> {
  readonly task: string;
  readonly data: T;
  readonly room?: string;
  readonly offset?: number;
}

export interface StateEvent {
  readonly state: State;
  readonly previous: State;
  /** The close code of the server or the network (1006); null when this side ended the connection by itself. */
  readonly code: number | null;
  readonly reason: string;
  /** ms until the next attempt; null when none is planned, or when it waits for the network or for the page. */
  readonly retryIn: number | null;
  /** How many attempts there were since the last connection that held. */
  readonly attempt: number;
}

export interface WelcomeEvent {
  readonly msgtype: 'welcome';
  readonly cid: string;
  readonly user: User;
  readonly heartbeat: number;
}

export type PresenceEvent =
  | { readonly room: string; readonly type: 'join' | 'leave'; readonly username: string }
  | { readonly room: string; readonly type: 'list'; readonly users: readonly string[]; readonly total: number };

/** One is in a room again. With `recovered` the `missed` messages follow; without, fetch the state of the page anew. */
export interface RecoveredEvent {
  readonly room: string;
  readonly recovered: boolean;
  readonly missed: number | null;
}

/** The server runs in development mode, and its code or files of the page were changed: location.reload(), perhaps. */
export interface ReloadedEvent {
  readonly msgtype: 'reloaded';
  readonly modules: readonly string[];
  readonly pages: readonly string[];
}

export interface Events {
  state: StateEvent;
  welcome: WelcomeEvent;
  presence: PresenceEvent;
  recovered: RecoveredEvent;
  message: Message;
  error: ZephError;
  reloaded: ReloadedEvent;
}

/** The events that tell of a room. */
export type RoomEvents = Pick<Events, 'presence' | 'recovered' | 'message' | 'error'>;

/** A code of this client, one of the server, or what a task gave to fail(). */
export type ErrorCode =
  | 'aborted' | 'bad-message' | 'cannot-connect' | 'closed' | 'connection-lost' | 'expired' | 'queue-full' | 'timeout'
  | 'token' | 'access-denied' | 'overloaded' | 'room-full' | 'task-failed' | 'timed-out' | 'too-many-rooms'
  | 'unknown-task' | (string & {});

export class ZephError extends Error {
  constructor(code: ErrorCode, message: string, details?: object);
  readonly name: 'ZephError' | 'AbortError';
  readonly code: ErrorCode;
  /** Whether the same may succeed later. */
  readonly temporary: boolean;
  readonly task?: string;
  readonly room?: string;
  /** With `connection-lost` and `closed`: the close code, null when this side ended the connection. */
  readonly closeCode?: number | null;
  /** With `expired` and `closed`: the messages that were not sent. */
  readonly dropped?: ReadonlyArray<{ readonly task: string; readonly data?: any; readonly room?: string }>;
  readonly cause?: unknown;
}

export interface AskOptions {
  /** ms, 10,000 unless told; Infinity for no limit. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface SendOptions {
  /** One of the rooms one is in; the task gets the first without. */
  room?: string;
}

export interface RequestOptions extends AskOptions, SendOptions {}

export interface JoinOptions {
  /** Whether to ask for what was missed after a break: true unless told. An object says since when: after a reload. */
  recover?: boolean | { epoch: string; offset: number };
}

/** Ends a subscription. */
export type Off = () => void;

export interface Room {
  readonly name: string;
  readonly joined: boolean;
  readonly users: string[];
  readonly total: number;
  readonly epoch: string | undefined;
  readonly offset: number | undefined;
  send(task: string, data?: Data): boolean;
  request<T = any>(task: string, data?: Data, options?: AskOptions): Promise<T>;
  subscribe<T = any>(task: string, callback: (data: T, message: Message<T>) => void): Off;
  on<E extends keyof RoomEvents>(event: E, callback: (value: RoomEvents[E]) => void): Off;
  presence(options?: AskOptions): Promise<string[]>;
  leave(): Promise<void>;
}

/** What the client needs of a WebSocket class. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => any) | null;
  onmessage: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface Clock {
  /** ms */
  now(): number;
  setTimeout(call: () => void, ms: number): any;
  clearTimeout(timer: any): void;
  /** From 0 to 1. */
  random(): number;
}

export interface Options {
  /** `ws://` (on an https page `wss://`), the page's host and `/ws` unless told; may be relative to the page. */
  url?: string | URL | null;
  /** The first room; without `room` and `rooms` the address of the page. null: none. */
  room?: string | null;
  rooms?: readonly string[];
  /** What the session manager expects; nothing for an anonymous user, or when a cookie says it. */
  session?: unknown;
  /** Asked for the session before each attempt to connect. An error with `fatal: true` ends the attempts. */
  getToken?: () => unknown;
  /** Gets each raw message event; then there are no subscribers. */
  messageCallback?: ((event: MessageEvent) => void) | null;
  protocols?: string | string[];
  WebSocket?: new (url: string, protocols?: any) => WebSocketLike;
  /** false: wait for connect(). */
  connect?: boolean;
  /** ms; bounds of the pause before a new attempt: 500 and 20,000 unless told. */
  minDelay?: number;
  maxDelay?: number;
  /** ms from the start of an attempt to the welcome, getToken() included: 20,000 unless told. */
  connectTimeout?: number;
  /** ms after which a ping is sent when nothing else was: 45,000 unless told; 0 for never. */
  pingInterval?: number;
  /** ms without a word of the server after which the connection is given up: heartbeat * 1.5 + 5 s unless told. */
  silence?: number;
  /** What may wait for a connection: 100 messages, 262,144 bytes, 30,000 ms unless told. */
  queue?: { messages?: number; bytes?: number; age?: number };
  /** For tests. */
  clock?: Clock;
  /** For tests: stands for globalThis. */
  page?: object;
}

export interface Zephclient {
  readonly state: State;
  readonly cid: string | null;
  readonly user: User | null;
  readonly rooms: string[];
  session: unknown;
  connect(): void;
  close(code?: number, reason?: string): void;
  send(task: string, data?: Data, options?: SendOptions): boolean;
  request<T = any>(task: string, data?: Data, options?: RequestOptions): Promise<T>;
  subscribe<T = any>(task: string, callback: (data: T, message: Message<T>) => void): Off;
  unsubscribe(task: string, callback: (data: any, message: Message) => void): boolean;
  on<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): Off;
  off<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): boolean;
  join(room: string, options?: JoinOptions): Promise<Room>;
  leave(room: string): Promise<void>;
  presence(room: string, options?: AskOptions): Promise<string[]>;
}

type Callback = (event: MessageEvent) => void;

/** The arguments of 2015 are all optional. An object that stands alone is the options. */
export interface ZephclientConstructor {
  new (options: Options): Zephclient;
  new (session?: string | null): Zephclient;
  new (session: unknown, url: string | null | undefined, room?: string | null, callback?: Callback | null): Zephclient;
  (options: Options): Zephclient;
  (session?: string | null): Zephclient;
  (session: unknown, url: string | null | undefined, room?: string | null, callback?: Callback | null): Zephclient;
  readonly prototype: Zephclient;
  readonly version: string;
  readonly ZephError: typeof ZephError;
}

export const Zephclient: ZephclientConstructor;
export default Zephclient;

declare global {
  /** What the plain script zephclient.js makes. */
  interface Window {
    Zephclient: ZephclientConstructor;
  }
}
