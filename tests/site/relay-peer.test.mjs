// The JavaScript peer by itself: frames from a made-up relay, in every order a network may bring them.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Gaps, Parcel, Reader, RelayError, RelayPeer, TIMES } from '../../site/relay-peer.js';

Object.assign(TIMES, { gapFirst: 20, gapMax: 80, gapGone: 60, look: 5, quiet: 40, quietMax: 80 });
const RELAY = 'relay.00';

class Client {
  sent = [];
  onMessage(handler) { this.handler = handler; }
  send(dest, data, options) {
    this.sent.push({ dest, event: JSON.parse(data), options });
    this.onsend?.(JSON.parse(data));
    return Promise.resolve(null);
  }
  says(frame, { src = RELAY, isEncrypted = true } = {}) {
    this.handler({ src, payload: JSON.stringify(frame), isEncrypted });
  }
  asked(event) { return this.sent.filter((one) => one.event.event === event); }
}

function asking(req = { path: '/api/chat' }, options) {
  const client = new Client();
  const peer = new RelayPeer(client, RELAY);
  const stream = peer.open(req, options);
  const { id } = stream;
  return {
    client, peer, stream, id,
    begin: () => client.says({ event: 'relay.response.begin', id, ok: true, status: 200, headers: {} }),
    lines: (...seqs) => client.says({ event: 'relay.response.lines', id, lines: seqs.map((seq) => ({ seq, line: `l${seq}` })) }),
    end: (last_seq, more = {}) => client.says({ event: 'relay.response.end', id, ok: true, last_seq, error: null, ...more }),
  };
}

async function all(stream) {
  const found = [];
  for await (const piece of stream) found.push(piece.line ?? piece.bytes);
  return found;
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

async function until(what) {
  const limit = Date.now() + 5000;
  while (!what()) {
    assert.ok(Date.now() < limit, 'waited too long');
    await pause(5);
  }
}

test('a stream in order', async () => {
  const { stream, begin, lines, end, client } = asking({ path: '/api/chat', method: 'POST', json: { model: 'm' } });
  begin(); lines(1, 2); lines(3); end(3);
  assert.deepEqual(await all(stream), ['l1', 'l2', 'l3']);
  assert.equal(stream.state, 'done');
  assert.equal(client.sent.length, 1);
  assert.deepEqual(client.sent[0].event.req, { stream: 'chunks', path: '/api/chat', method: 'POST', json: { model: 'm' } });
  assert.deepEqual(client.sent[0].options, { noReply: true });
});

for (const order of ['312', '321', '132', '213', '231']) {
  test(`frames in the order ${order}, each twice, the end first`, async () => {
    const { stream, begin, lines, end } = asking();
    end(3);
    for (const seq of order) { lines(Number(seq)); lines(Number(seq)); }
    begin();
    assert.deepEqual(await all(stream), ['l1', 'l2', 'l3']);
  });
}

test('what is lost is asked for, once and ever more rarely, and then given out in order', async () => {
  const { stream, begin, lines, end, client } = asking();
  begin(); lines(1); lines(4); end(4);
  const reading = all(stream);
  await until(() => client.asked('relay.response.missing').length === 1);
  assert.deepEqual(client.asked('relay.response.missing')[0].event.missing, [2, 3]);
  lines(2, 3);
  assert.deepEqual(await reading, ['l1', 'l2', 'l3', 'l4']);
  assert.equal(stream.resent, 2);
});

test('a keepalive shows what was lost before anything else comes', async () => {
  const { stream, begin, lines, end, client, id } = asking();
  begin(); lines(1);
  client.says({ event: 'relay.response.keepalive', id, ts: 1, last_seq: 2, state: 'generating' });
  const reading = all(stream);
  await until(() => client.asked('relay.response.missing').length > 0);
  assert.deepEqual(client.asked('relay.response.missing')[0].event.missing, [2]);
  lines(2); end(2);
  assert.deepEqual(await reading, ['l1', 'l2']);
});

test('a begin that was lost is asked for as 0', async () => {
  const { stream, lines, end, begin, client } = asking();
  lines(1);
  const reading = all(stream);
  await until(() => client.asked('relay.response.missing').length > 0);
  assert.deepEqual(client.asked('relay.response.missing')[0].event.missing, [0]);
  begin(); end(1);
  await reading;
  assert.equal(stream.begin.status, 200);
});

test('a relay that keeps it no more ends the stream with the reason', async () => {
  const { stream, begin, lines, end, client, id } = asking();
  begin(); lines(1); lines(3); end(3);
  client.onsend = (event) => {
    if (event.event === 'relay.response.missing') client.says({ event: 'relay.response.gone', id, missing: event.missing });
  };
  await assert.rejects(all(stream), (error) => error instanceof RelayError && error.code === 'lost' && /2/.test(error.message));
  assert.equal(stream.state, 'lost');
});

test('a relay that was restarted does not know the request, and the stream ends with that', async () => {
  const { stream, lines, client, id } = asking();
  lines(1);
  client.onsend = (event) => {
    if (event.event === 'relay.resume') client.says({ event: 'relay.response.gone', id, missing: [-1] });
  };
  await assert.rejects(all(stream), (error) => error.code === 'lost' && /does not know/.test(error.message));
});

const LARGE = { path: '/api/chat', method: 'POST', json: { words: 'ä'.repeat(150_000) } };

test('a large request goes in pieces, and those that are missing go again', async () => {
  const { client, stream, id, begin, lines, end } = asking(LARGE);
  const reading = all(stream);
  await until(() => client.asked('http.upload.end').length === 1);
  const chunks = client.asked('http.upload.chunk').map((one) => one.event);
  const [first] = client.asked('http.upload.begin').map((one) => one.event);
  assert.equal(first.req.json, undefined);
  assert.equal(first.req.stream, 'chunks');
  assert.equal(first.total_chunks, chunks.length);
  const body = Buffer.concat(chunks.map((one) => Buffer.from(one.b64, 'base64'))).toString();
  assert.deepEqual(JSON.parse(body), LARGE.json);
  client.says({ event: 'http.upload.missing', id, upload_id: id, missing: [0, 2, 99, 'x'] });
  await until(() => client.asked('http.upload.end').length === 2);
  assert.deepEqual(client.sent.slice(-3).map((one) => one.event.seq ?? one.event.event), ['http.upload.begin', 2, 'http.upload.end']);
  begin(); lines(1); end(1);
  assert.deepEqual(await reading, ['l1']);
});

test('a large request that nobody answers is named again, not sent again as a whole', async () => {
  const { client, stream } = asking(LARGE);
  const reading = all(stream);
  await until(() => client.asked('http.upload.begin').length >= 3);
  assert.equal(client.asked('http.upload.chunk').length, client.asked('http.upload.begin')[0].event.total_chunks);
  await assert.rejects(reading, /does not answer/);
});

test('cancelling ends the sending of pieces', async () => {
  const { client, stream } = asking(LARGE);
  stream.cancel();
  await pause(30);
  assert.equal(client.sent.at(-1).event.event, 'relay.cancel');
  await assert.rejects(all(stream));
});

test('a relay that takes no pieces gets one message', () => {
  const client = new Client();
  new RelayPeer(client, RELAY, { uploads: false }).open(LARGE).drop();
  assert.deepEqual(client.asked('relay.http').map((one) => one.event.req.json), [LARGE.json]);
});

test('only what is large is a parcel', () => {
  assert.equal(Parcel.of('i', { path: '/' }), null);
  assert.equal(Parcel.of('i', { json: 'x'.repeat(199_998) }), null);
  assert.ok(Parcel.of('i', { json: 'x'.repeat(199_999) }));
});

test('a request that got lost is sent again with the same id', async () => {
  const { stream, begin, lines, end, client } = asking();
  const reading = all(stream);
  await until(() => client.asked('relay.http').length >= 2);
  assert.equal(new Set(client.asked('relay.http').map((one) => one.event.id)).size, 1);
  begin(); lines(1); end(1);
  assert.deepEqual(await reading, ['l1']);
});

test('after a silence the rest is asked for from where it broke off', async () => {
  const { stream, begin, lines, end, client } = asking();
  begin(); lines(1, 2);
  const reading = all(stream);
  await until(() => client.asked('relay.resume').length > 0);
  assert.equal(client.asked('relay.resume')[0].event.have, 2);
  assert.equal(stream.state, 'resuming');
  lines(3); end(3);
  assert.deepEqual(await reading, ['l1', 'l2', 'l3']);
});

test('keepalives while it waits show the state and ask for nothing', async () => {
  const states = [];
  const { stream, begin, lines, end, client, id } = asking({ path: '/x' }, { onstate: (s) => states.push([s.state, s.position]) });
  client.says({ event: 'relay.response.keepalive', id, ts: 1, last_seq: 0, state: 'queued', position: 3 });
  client.says({ event: 'relay.response.keepalive', id, ts: 1, last_seq: 0, state: 'loading' });
  await pause(60);
  begin(); lines(1); end(1);
  await all(stream);
  assert.deepEqual(states, [['queued', 3], ['loading', null], ['generating', null], ['done', null]]);
  assert.equal(client.asked('relay.resume').length, 0);
});

test('a relay that never answers is an error, and nothing goes on afterwards', async () => {
  const { stream, client } = asking();
  await assert.rejects(all(stream), /does not answer/);
  const sent = client.sent.length;
  await pause(100);
  assert.equal(client.sent.length, sent);
});

test('a clock that jumped, as on a phone that slept, ends nothing before it was asked again', async () => {
  const client = new Client();
  let slept = 0;
  const peer = new RelayPeer(client, RELAY, { now: () => performance.now() + slept });
  const stream = peer.open({ path: '/x' });
  const { id } = stream;
  client.says({ event: 'relay.response.lines', id, lines: [{ seq: 1, line: 'l1' }] });
  const reading = all(stream);
  slept = 3_600_000;
  await until(() => client.asked('relay.resume').length > 0);
  client.says({ event: 'relay.response.begin', id, ok: true, status: 200, headers: {} });
  client.says({ event: 'relay.response.lines', id, lines: [{ seq: 2, line: 'l2' }] });
  client.says({ event: 'relay.response.end', id, ok: true, last_seq: 2, error: null });
  assert.deepEqual(await reading, ['l1', 'l2']);
});

test('leaving the loop cancels at the relay', async () => {
  const { stream, begin, lines, client, id } = asking();
  begin(); lines(1, 2);
  for await (const piece of stream) { assert.equal(piece.line, 'l1'); break; }
  assert.deepEqual(client.sent.at(-1).event, { event: 'relay.cancel', id });
});

test('an abort signal cancels and rejects', async () => {
  const stop = new AbortController();
  const { stream, begin, client } = asking({ path: '/x' }, { signal: stop.signal });
  begin();
  const reading = all(stream);
  stop.abort();
  await assert.rejects(reading, (error) => error.code === 'cancelled');
  assert.equal(client.asked('relay.cancel').length, 1);
});

test('a signal that was aborted before asks nothing', async () => {
  const { stream, client } = asking({ path: '/x' }, { signal: AbortSignal.abort() });
  await assert.rejects(all(stream), (error) => error.code === 'cancelled');
  assert.equal(client.sent.length, 0);
});

test('an end with an error gives what came and then rejects with code and wait', async () => {
  const { stream, begin, lines, end } = asking();
  begin(); lines(1);
  end(1, { ok: false, error: 'no room', code: 'busy', retry_after_ms: 7 });
  const got = [];
  await assert.rejects(async () => { for await (const piece of stream) got.push(piece.line); },
    (error) => error.code === 'busy' && error.retryAfterMs === 7);
  assert.deepEqual(got, ['l1']);
});

test('bytes come as bytes', async () => {
  const { stream, begin, end, client, id } = asking();
  begin();
  client.says({ event: 'relay.response.chunk', id, seq: 1, b64: btoa('\x00\xff') });
  end(1);
  assert.deepEqual((await all(stream)).map((bytes) => [...bytes]), [[0, 255]]);
});

test('strangers, unsealed messages, other ids and rubbish are passed over', async () => {
  const { stream, begin, lines, end, client, id } = asking();
  client.says({ event: 'relay.response.end', id, last_seq: 0, error: 'forged' }, { src: 'relay.11' });
  client.says({ event: 'relay.response.end', id, last_seq: 0, error: 'forged' }, { isEncrypted: false });
  client.says({ event: 'relay.response.end', id: 'other', last_seq: 0 });
  for (const payload of ['{', '7', 'null', '[]', '"x"']) client.handler({ src: RELAY, payload, isEncrypted: true });
  client.says({ event: 'relay.response.lines', id, lines: [null, 7, { seq: 'x', line: 'no' }, { seq: -1, line: 'no' }, { seq: 1e9, line: 'no' }] });
  client.says({ event: 'relay.response.lines', id, lines: 7 });
  begin(); lines(1); end(1);
  assert.deepEqual(await all(stream), ['l1']);
});

test('calls carry their answer and the round trip; without one they reject', async () => {
  const { peer, client } = asking();
  client.onsend = (event) => {
    if (event.event === 'relay.ping') client.says({ event: 'relay.pong', id: event.id, ts: 5, addr: RELAY });
  };
  const pong = await peer.call('relay.ping');
  assert.equal(pong.ts, 5);
  assert.ok(pong.rttMs >= 0);
  await assert.rejects(peer.call('relay.info', { timeoutMs: 20 }), /no answer/);
});

test('an answer without stream', async () => {
  const { peer, client } = asking();
  client.onsend = (event) => {
    if (event.req && !event.req.stream) {
      client.says({ event: 'relay.response', id: event.id, ok: true, status: 200, headers: {}, json: { a: 1 }, body_b64: null, error: null });
    }
  };
  assert.deepEqual((await peer.fetch({ path: '/api/tags' })).json, { a: 1 });
});

test('a client that cannot send does not break the stream', async () => {
  const client = new Client();
  client.send = () => Promise.reject(new Error('not connected'));
  const stream = new RelayPeer(client, RELAY).open({ path: '/x' });
  await assert.rejects(all(stream), /does not answer/);
});

test('whatever is lost, doubled and overtaken, the reader gives each line once, in order', () => {
  let seed = 7;
  const random = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
  for (let round = 0; round < 300; round += 1) {
    const count = 1 + random(30);
    const reader = new Reader('i');
    const got = [];
    const pile = Array.from({ length: count }, (_, index) => index + 1).flatMap((seq) => (random(4) ? [seq] : [seq, seq]));
    for (let rest = pile.length; rest; rest -= 1) {
      const [seq] = pile.splice(random(rest), 1);
      got.push(...reader.feed({ event: 'RELAY.Response.Lines', id: 'i', lines: [{ seq, line: String(seq) }] }));
      const seen = new Set(got.map((piece) => piece.seq));
      for (const missing of reader.missing()) assert.ok(missing === 0 || !seen.has(missing));
    }
    assert.deepEqual(got.map((piece) => piece.seq), Array.from({ length: count }, (_, index) => index + 1));
    assert.equal(reader.have, count);
  }
});

test('gaps are asked for in their time only', () => {
  const gaps = new Gaps();
  const none = new Set();
  assert.deepEqual(gaps.look([5], none, 0), []);
  assert.deepEqual(gaps.look([5], none, 19), []);
  assert.deepEqual(gaps.look([5, 6], none, 20), [5]);
  assert.deepEqual(gaps.look([5, 6], none, 40), [6]);
  assert.deepEqual(gaps.look([6], none, 60), []);
  assert.deepEqual(gaps.look([], none, 61), []);
});

test('what is gone at the relay may still be under way for a while', () => {
  const gaps = new Gaps();
  assert.deepEqual(gaps.look([5], new Set([5]), 0), []);
  assert.deepEqual(gaps.look([5], new Set([5]), 50), []);
  assert.deepEqual(gaps.lost(TIMES.gapGone - 1), []);
  assert.deepEqual(gaps.lost(TIMES.gapGone), [5]);
  gaps.look([], new Set([5]), TIMES.gapGone); // it came after all
  assert.deepEqual(gaps.lost(TIMES.gapGone), []);
});

test('one lost line and sixty thousand behind it are asked for as one', () => {
  const reader = new Reader('x');
  for (let seq = 2; seq < 60_000; seq += 1) reader.feed({ event: 'relay.response.lines', id: 'x', lines: [{ seq, line: '' }] });
  assert.deepEqual(reader.missing(), [0, 1]);
  assert.equal(reader.feed({ event: 'relay.response.lines', id: 'x', lines: [{ seq: 1, line: '' }] }).length, 59_999);
});

test('a keepalive that names more than the end does, names nothing missing', () => {
  const reader = new Reader('x');
  reader.feed({ event: 'relay.response.keepalive', id: 'x', last_seq: 9 });
  reader.feed({ event: 'relay.response.begin', id: 'x' });
  reader.feed({ event: 'relay.response.end', id: 'x', ok: true, last_seq: 0 });
  assert.equal(reader.complete, true);
  assert.deepEqual(reader.missing(), []);
});
