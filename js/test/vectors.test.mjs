/** The protocol as docs/protocol.md has it: the same vectors are read by tests/zephserver/test_vectors.py. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { make, outcome, settled } from './fakes.mjs';

const { vectors } = JSON.parse(readFileSync(new URL('../../tests/vectors/protocol.json', import.meta.url), 'utf8'));

/** A client that is in no room unless the options say so, connected and perhaps broken off once. */
async function client({ options = { room: null }, hear = [], break: isBroken = false } = {}) {
  const made = make({ ...options, silence: 1e9 });
  made.up();
  hear.forEach((message) => made.net.last.hear(message));
  if (isBroken) {
    made.net.last.end();
    await made.clock.advance(500);
    made.up();
  }
  return made;
}

/** Those fields of *found* that *expected* names. */
const chosen = (found, expected) => Object.fromEntries(Object.keys(expected).map((key) => [key, found[key]]));

for (const { name, say, by } of vectors.filter((vector) => vector.say && vector.by)) {
  test(`the client says: ${name}`, async () => {
    const made = await client(by);

    if (by.call) Promise.resolve(made.client[by.call](...by.arguments)).catch(() => {});
    if (by.advance) await made.clock.advance(by.advance);
    await settled();

    assert.deepEqual(made.net.last.said(), say);
  });
}

for (const { name, options, before, hear, expect } of vectors.filter((vector) => vector.hear)) {
  test(`the client hears: ${name}`, async () => {
    const made = hear.msgtype === 'welcome' ? make(options) : await client({ options });
    const { net, diary } = made;
    if (hear.msgtype === 'welcome') net.last.open();
    const answer = before && outcome(made.client[before.call](...before.arguments));
    const counts = () => Object.values(diary).map((events) => events.length);
    const old = counts();

    net.last.hear(hear);
    await settled();

    if (expect.event) {
      const value = diary[expect.event].at(-1);
      assert.deepEqual(expect.event === 'error' ? chosen(value, expect.value) : value, expect.value);
    } else if (expect.refused) {
      assert.deepEqual(chosen((await answer).error, expect.refused), expect.refused);
    } else if ('value' in expect) {
      const value = (await answer).value ?? null;
      const isRoom = before.call === 'join';
      assert.deepEqual(isRoom ? chosen(value, expect.value) : value, expect.value);
    }
    if (!expect.event) assert.deepEqual(counts(), old, 'an event was told that nobody expects');
  });
}
