// The fair alternative: what a competent developer writes on the official nkn-sdk in an hour.
// ping, info and streamed http as docs/protocol.md has them, with plain windows of 80 ms or 24 lines; no limits,
// no policy, no resend. Settings are the relay's own: NKN_RPC_ADDR, RELAY_TARGETS, NKN_NUM_SUBCLIENTS, RELAY_KEEPALIVE_S.
import { createRequire } from 'node:module';

const nkn = createRequire(new URL('../tests/interop/package.json', import.meta.url))('nkn-sdk');
const targets = JSON.parse(process.env.RELAY_TARGETS);
const WINDOW_MS = 80;
const WINDOW_LINES = 24;
const KEEPALIVE_MS = 1000 * (process.env.RELAY_KEEPALIVE_S || 10);

// No original client: with one the SDK would send a third copy of every frame.
const client = new nkn.MultiClient({
  identifier: 'relay',
  seed: process.env.NKN_SEED_HEX,
  numSubClients: Number(process.env.NKN_NUM_SUBCLIENTS || 2),
  rpcServerAddr: process.env.NKN_RPC_ADDR.split(',')[0],
  tls: false,
});
const running = new Map();

// A frame's own acknowledgement is not waited for: each would need a timer and a rejected promise.
const say = (dest, message) => { client.send(dest, JSON.stringify(message), { noReply: true }).catch(() => {}); };

class Stream {
  constructor(dest, id) {
    Object.assign(this, { dest, id, began: Date.now(), sent: Date.now(), seq: 0, bytes: 0, held: [], timer: null, done: false, eot: false });
    this.alive = setInterval(() => this.keepAlive(), KEEPALIVE_MS / 4);
  }

  send(event, fields) {
    this.sent = Date.now();
    say(this.dest, { event: `relay.response.${event}`, id: this.id, ...fields });
  }

  keepAlive() {
    if (Date.now() - this.sent >= KEEPALIVE_MS) this.send('keepalive', { ts: Date.now(), last_seq: this.seq });
  }

  line(line) {
    this.seq += 1;
    this.held.push({ seq: this.seq, ts: Date.now(), line });
    this.done ||= line.includes('"done":true') || line.includes('"done": true');
    this.eot ||= line.includes('<|eot_id|>') || line.includes('</s>');
    if (this.held.length >= WINDOW_LINES) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), WINDOW_MS);
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.held.length) this.send('lines', { lines: this.held.splice(0) });
  }

  end(error) {
    clearInterval(this.alive);
    this.flush();
    this.send('end', {
      ok: !error, bytes: this.bytes, last_seq: this.seq, lines: this.seq, eot_seen: this.eot || this.done, done_seen: this.done,
      truncated: Boolean(error), error: error ? String(error) : null, t_ms: Date.now() - this.began,
    });
  }
}

async function stream(dest, id, response) {
  const out = new Stream(dest, id);
  try {
    out.send('begin', { ok: response.ok, status: response.status, headers: Object.fromEntries(response.headers), ts: Date.now() });
    const decoder = new TextDecoder();
    let rest = '';
    for await (const data of response.body) {
      out.bytes += data.length;
      const lines = (rest + decoder.decode(data, { stream: true })).split('\n');
      rest = lines.pop();
      for (const line of lines) out.line(line);
    }
    if (rest) out.line(rest);
    out.end(null);
  } catch (error) {
    out.end(error);
  }
}

async function whole(dest, id, response) {
  const body = Buffer.from(await response.arrayBuffer());
  const isJson = (response.headers.get('content-type') || '').includes('json');
  say(dest, {
    event: 'relay.response', id, ok: response.ok, status: response.status, headers: Object.fromEntries(response.headers),
    json: isJson ? JSON.parse(body) : null, body_b64: isJson ? null : body.toString('base64'), truncated: false, error: null,
  });
}

async function http(dest, id, req) {
  const stop = new AbortController();
  running.set(id, stop);
  try {
    const response = await fetch(targets[req.service || 'ollama'] + (req.path || '/'), {
      method: req.method || 'GET',
      headers: { 'content-type': 'application/json', ...req.headers },
      body: req.json === undefined ? req.data : JSON.stringify(req.json),
      signal: stop.signal,
    });
    await (req.stream ? stream : whole)(dest, id, response);
  } catch (error) {
    if (req.stream) new Stream(dest, id).end(error);
    else say(dest, { event: 'relay.response', id, ok: false, status: 502, headers: {}, json: null, body_b64: null, truncated: false, error: String(error) });
  } finally {
    running.delete(id);
  }
}

const answers = {
  'relay.ping': (src, { id, ts_peer }) => say(src, { event: 'relay.pong', id, ts: Date.now(), addr: client.addr, ts_peer }),
  'relay.info': (src, { id }) => say(src, { event: 'relay.info', id, ts: Date.now(), addr: client.addr, services: Object.keys(targets) }),
  'relay.http': (src, { id, req }) => { http(src, id, req || {}); },
  'relay.cancel': (src, { id }) => { running.get(id)?.abort(); },
};

client.onMessage(({ src, payload, isEncrypted }) => {
  if (!isEncrypted) return false;
  try {
    const message = JSON.parse(payload);
    answers[String(message.event).toLowerCase()]?.(src, message);
  } catch {
    return false;
  }
  return undefined; // the SDK acknowledges
});

// The SDK talks to the console; standard output carries the ready line alone.
console.log = console.error;
const parts = Object.values(client.clients);
await Promise.all(parts.map((part) => new Promise((connected) => { part.onConnect(connected); })));
process.stdout.write(`→ NKN ready: ${client.addr}\n`);
