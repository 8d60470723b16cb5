/** An example in a folder, and its server, run as a person would: with zephctl and kill. */

import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const { ZEPH_BIN, ZEPH_FOLDER } = process.env;
const run = promisify(execFile);
let count = 0;

export class Site {
  port = 0;

  /** Make an example; *more* are further files, by name, as `{'static/x.html': '...'}`. */
  static async make(template, more = {}) {
    const site = new Site();
    site.folder = join(ZEPH_FOLDER, `${template}-${process.pid}-${count++}`);
    await site.run('zephctl', 'new', template, site.folder);
    for (const [name, text] of Object.entries(more)) writeFileSync(join(site.folder, name), text);
    return site;
  }

  /** Run one of our programs in the folder: what it said. */
  async run(program, ...words) {
    mkdirSync(this.folder, { recursive: true });
    const env = { ...process.env, PORT: String(this.port) };
    delete env.ZEPHSETTINGS;
    const { stdout, stderr } = await run(join(ZEPH_BIN, program), words, { cwd: this.folder, env, timeout: 30_000 });
    return stdout + stderr;
  }

  zephctl(...words) {
    return this.run('zephctl', ...words);
  }

  /** Start the server; the same port again at each later start. */
  async start(...words) {
    await this.run('zephserver-start', '--daemon', ...words);
    const { port, pid } = JSON.parse(await this.zephctl('status', '-o', 'json'));
    Object.assign(this, { port, pid });
  }

  /** As when the machine ran out of memory: no good-bye. */
  kill() {
    process.kill(this.pid, 'SIGKILL');
  }

  stop() {
    return this.run('zephserver-stop');
  }

  /** At the end of a test: no server is left. */
  async close() {
    const pid = Number(readFileSync(join(this.folder, 'server.lock'), 'utf8').split('\n')[0]);
    if (pid) await this.stop().catch(() => {});
  }

  write(name, text) {
    writeFileSync(join(this.folder, name), text);
  }

  read(name) {
    return readFileSync(join(this.folder, name), 'utf8');
  }

  url(path = '/', scheme = 'http') {
    return `${scheme}://127.0.0.1:${this.port}${path}`;
  }
}
