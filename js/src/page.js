/**
 * What the page (or worker, or Node) tells about being awake. Each event is a plain call on *hears*; a world that has
 * no such events never makes any.
 */
export class Page {
  #world;
  #hears;
  #ears = [];
  #wentOffline = false;

  /** @param {object} world globalThis, or what a test gives in its place */
  constructor(world, hears) {
    this.#world = world;
    this.#hears = hears;
  }

  listen() {
    if (this.#ears.length) return;
    const { document } = this.#world;
    this.#ear(this.#world, 'online', () => this.#online(true));
    this.#ear(this.#world, 'offline', () => this.#online(false));
    this.#ear(this.#world, 'pagehide', () => this.#hears.leave());
    this.#ear(this.#world, 'pageshow', () => this.#hears.comeBack());
    this.#ear(document, 'visibilitychange', () => {
      if (document.visibilityState !== 'visible') return;
      this.#wentOffline = false; // a person looks: a server on this machine is worth another attempt
      this.#hears.wake();
    });
  }

  stop() {
    for (const [target, name, call] of this.#ears) target.removeEventListener(name, call);
    this.#ears = [];
    this.#wentOffline = false;
  }

  /**
   * Whether it is no use to try. A server on this very machine is there without any network, where some browsers always
   * say that they are offline; for it only the event counts.
   */
  isOffline(url) {
    return this.#world.navigator?.onLine === false && (this.#wentOffline || !isLocal(url));
  }

  #ear(target, name, call) {
    if (typeof target?.addEventListener !== 'function') return;
    target.addEventListener(name, call);
    this.#ears.push([target, name, call]);
  }

  #online(isOnline) {
    this.#wentOffline = !isOnline;
    if (isOnline) this.#hears.online();
    else this.#hears.offline();
  }
}

function isLocal(url) {
  const { hostname } = new URL(url);
  return hostname === '[::1]' || /^127\.[\d.]+$/.test(hostname) || /(^|\.)localhost$/.test(hostname);
}

/**
 * The address of the server: undefined is `/ws` of the page's host, and anything else may be relative to the page.
 * Raises TypeError when that leads nowhere.
 */
export function resolveUrl(url, world) {
  const { location } = world;
  if (url === undefined || url === null) {
    if (!location?.host) throw new TypeError('there is no page here whose host could be meant: give a url');
    return `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/ws`;
  }
  const found = new URL(url, location?.href);
  if (found.protocol === 'http:' || found.protocol === 'https:') found.protocol = found.protocol.replace('http', 'ws');
  if (!/^wss?:$/.test(found.protocol)) throw new TypeError(`expected a url such as wss://host/ws, got ${url}`);
  found.hash = ''; // a WebSocket takes none
  return found.href;
}
