/** A network between a page and a server, which the test can break. */

import { connect, createServer } from 'node:net';

export class Proxy {
  #sockets = new Set();
  #isCut = false;

  /** A proxy to the port of a site; `url()` as that of the site. */
  static async to(site) {
    const proxy = new Proxy();
    proxy.server = createServer((client) => proxy.#join(client, site.port));
    await new Promise((done) => proxy.server.listen(0, '127.0.0.1', done));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  url(path = '/') {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** All connections end without a word, and no new one is let through. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Nothing comes through any more, and nobody is told. */
  freeze() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend() {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close() {
    this.cut();
    return new Promise((done) => this.server.close(done));
  }

  #join(client, port) {
    if (this.#isCut) {
      client.resetAndDestroy();
      return;
    }
    const server = connect(port, '127.0.0.1');
    for (const [one, other] of [[client, server], [server, client]]) {
      this.#sockets.add(one);
      one.on('data', (data) => other.write(data)).on('error', () => {});
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
  }
}
