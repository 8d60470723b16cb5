import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ZephError, connected, outcome, settled } from './fakes.mjs';

test('a request is answered by its id; subscribers do not hear the answer', async () => {
  const { client, net } = connected();
  const heard = [];
  client.subscribe('echo', (data) => heard.push(data));

  const [one, two] = [client.request('echo', 1), client.request('echo', 2)];
  const [first, second] = net.last.said(2);
  net.last.hear({ task: 'echo', id: second.id, data: 'two' }).hear({ task: 'echo', id: first.id, data: 'one' });

  assert.deepEqual(await Promise.all([one, two]), ['one', 'two']);
  assert.notEqual(first.id, second.id);
  assert.deepEqual(heard, []);
});

test('a request is refused with the code of the server', async () => {
  const { client, net, diary } = connected();

  const answer = client.request('busy', null, { room: 'lobby' });
  net.last.hear({ task: 'busy', id: net.last.said().id, error: { code: 'overloaded', message: 'later' } });

  const { error } = await outcome(answer);
  assert.ok(error instanceof ZephError);
  assert.deepEqual([error.name, error.code, error.temporary, error.message, error.task], [
    'ZephError', 'overloaded', true, 'later', 'busy',
  ]);
  assert.equal(net.last.said().room, 'lobby');
  assert.deepEqual(diary.error, []);
});

test('a request without an answer ends after 10 seconds, or after its own time', async () => {
  const { client, clock } = connected({ silence: 1e6 });

  const slow = client.request('slow');
  const quick = client.request('quick', null, { timeout: 100 });
  const patient = client.request('patient', null, { timeout: Infinity });

  await clock.advance(99);
  assert.equal(await outcome(quick), 'pending');
  await clock.advance(1);
  assert.equal((await outcome(quick)).error.code, 'timeout');
  await clock.advance(9_899);
  assert.equal(await outcome(slow), 'pending');
  await clock.advance(1);
  const { error } = await outcome(slow);
  assert.deepEqual([error.code, error.temporary], ['timeout', true]);
  assert.equal(error.message, 'no answer to task slow within 10000 ms');
  await clock.advance(500_000);
  assert.equal(await outcome(patient), 'pending');
});

test('an answer that comes too late is for nobody', async () => {
  const { client, net, clock, diary } = connected();
  client.request('slow').catch(() => {});
  const { id } = net.last.said();
  await clock.advance(10_000);

  net.last.hear({ task: 'slow', id, data: 1 }).hear({ task: 'slow', id, error: { code: 'timed-out', message: '' } });

  assert.deepEqual([diary.message, diary.error], [[], []]);
});

test('a request is aborted by its signal, before and after it was sent', async () => {
  const { client, net } = connected();
  const before = net.last.sent.length;
  const { error } = await outcome(client.request('echo', 1, { signal: AbortSignal.abort('why') }));
  assert.deepEqual([error.name, error.code, error.temporary, error.cause], ['AbortError', 'aborted', false, 'why']);
  assert.equal(net.last.sent.length, before);

  const control = new AbortController();
  const answer = client.request('echo', 1, { signal: control.signal });
  control.abort();

  assert.equal((await outcome(answer)).error.name, 'AbortError');
});

test('a request that was answered leaves no timer and nothing at its signal', async () => {
  const { client, net, clock } = connected();
  const control = new AbortController();
  const timers = clock.timers;

  const answer = client.request('echo', 1, { signal: control.signal });
  net.last.hear({ task: 'echo', id: net.last.said().id, data: null });

  assert.equal(await answer, null);
  assert.equal(clock.timers, timers);
  control.abort();
});

test('requests under way when the connection breaks may have been done or not, and say so', async () => {
  const { client, net } = connected();
  const answer = client.request('pay');

  net.last.end(1006);

  const { error } = await outcome(answer);
  assert.deepEqual([error.code, error.temporary, error.closeCode], ['connection-lost', true, 1006]);
  assert.match(error.message, /task pay may have been done or not/);
});

test('close() ends what is under way with closed', async () => {
  const { client, net } = connected();
  const sent = client.request('a');
  net.last.readyState = 2; // the server has begun to close
  const queued = client.request('b');

  client.close();

  for (const answer of [sent, queued]) {
    const { error } = await outcome(answer);
    assert.deepEqual([error.code, error.temporary], ['closed', false]);
  }
  assert.equal((await outcome(client.request('c'))).error.code, 'closed');
  assert.equal(client.send('d'), false);
  await settled();
});
