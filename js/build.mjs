/**
 * Makes the files that are served and published, from src/:
 *
 *     node build.mjs             write them to ../zephserver/static/
 *     node build.mjs --check     are they current? exit status 1 when not
 *     node build.mjs --package   write dist/, for `npm pack`
 *
 * The readable forms are the modules one after the other, with their comments; that needs Node only. The minified form
 * is made by esbuild (`npm ci`). Its first line has a hash of what it was made from, so that --check works without.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const LARGEST = 10_000; // bytes of the minified form under gzip
const TARGET = 'es2022';
const here = new URL('./', import.meta.url);
const served = new URL('../zephserver/static/', here);
const read = (path, base = here) => readFileSync(new URL(path, base), 'utf8');
const { version } = JSON.parse(read('package.json'));
const banner = `/*! zephclient ${version} | Apache-2.0 | the JavaScript client of zephserver */\n`;

/** The modules below *entry* as one text: what a module imports stands above it, each once. */
function join(entry) {
  const done = new Map(); // path -> its text
  const homes = new Map(); // name at the top of a module -> that module: in one text they share a scope
  const visit = (path, above) => {
    if (done.has(path)) return;
    if (above.includes(path)) throw new Error(`imports in a circle: ${[...above, path].join(' -> ')}`);
    const lines = [];
    for (const line of read(`src/${path}`).trimEnd().split('\n')) {
      const from = /^import \{[\w\s,]+\} from '\.\/([\w.]+)';$/.exec(line)?.[1];
      if (from) {
        visit(from, [...above, path]);
        continue;
      }
      if (/^(import|export \{|export default|export \*)/.test(line)) throw new Error(`${path}: cannot join: ${line}`);
      const name = /^(?:export )?(?:async )?(?:class|const|let|function\*?) (\w+)/.exec(line)?.[1];
      if (name && homes.has(name)) throw new Error(`${name} is in ${homes.get(name)} and in ${path}`);
      if (name) homes.set(name, path);
      lines.push(line.replace(/^export /, ''));
    }
    done.set(path, lines.join('\n').trim());
  };
  visit(entry, []);
  return [...done].map(([path, text]) => `// -- ${path} ${'-'.repeat(90 - path.length)}\n\n${text}\n`).join('\n');
}

/** In a function of its own: nothing but what *last* hands out is seen outside. */
function enclosed(body, last) {
  return `${banner}(() => {\n'use strict';\n\n${body}\n${last}\n})();\n`;
}

function hash(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

async function minified(text) {
  let esbuild;
  try {
    esbuild = await import('esbuild');
  } catch {
    return null;
  }
  const { code } = await esbuild.transform(text, { minify: true, target: TARGET, legalComments: 'none' });
  return banner.replace(' */', ` | from ${hash(text)} */`) + code;
}

function readable() {
  const body = join('zephclient.js');
  if (!body.includes(`VERSION = '${version}'`)) throw new Error('src/version.js and package.json differ');
  return {
    'zephclient.js': enclosed(body, 'globalThis.Zephclient = Zephclient;'),
    'zephclient.esm.js': `${banner}${body}\nexport { Zephclient, ZephError, Zephclient as default };\n`,
    'zephclient.cjs': enclosed(body, 'module.exports = { Zephclient, ZephError, default: Zephclient };'),
    'zephclient.d.ts': banner + read('zephclient.d.ts'),
  };
}

function write(files, folder) {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(new URL(name, folder), text);
    console.log(`${fileURLToPath(new URL(name, folder))}  ${text.length} bytes, ${gzipSync(text).length} under gzip`);
  }
}

function stale(files) {
  return Object.entries(files).filter(([name, text]) => {
    try {
      return read(name, served) !== text;
    } catch {
      return true;
    }
  }).map(([name]) => name);
}

const { 'zephclient.cjs': cjs, ...files } = readable();
const short = await minified(files['zephclient.js']);
if (short && gzipSync(short).length > LARGEST) throw new Error(`the minified form has more than ${LARGEST} bytes`);

if (process.argv.includes('--check')) {
  const old = stale(short ? { ...files, 'zephclient.min.js': short } : files);
  const first = read('zephclient.min.js', served).split('\n', 1)[0];
  if (!short && !first.includes(`from ${hash(files['zephclient.js'])} `)) old.push('zephclient.min.js');
  if (old.length) {
    console.error(`not current: ${old.join(', ')}; run: node js/build.mjs`);
    process.exit(1);
  }
  console.log(`the built files are current${short ? '' : ' (the minified one by its hash: esbuild is not installed)'}`);
} else if (!short) {
  console.error('esbuild is missing, which makes the minified form; run: npm ci --prefix js');
  process.exit(1);
} else if (process.argv.includes('--package')) {
  const more = { 'zephclient.cjs': cjs, 'zephclient.d.cts': files['zephclient.d.ts'], LICENSE: read('../LICENSE') };
  write({ ...files, 'zephclient.min.js': short, ...more }, new URL('dist/', here));
} else {
  write({ ...files, 'zephclient.min.js': short }, served);
}
