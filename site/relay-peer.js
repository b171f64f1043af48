/**
 * A relay's answers in JavaScript: frames in any order in, the stream in order out, and what got lost asked for again.
 *
 * Works with any client of the official nkn-sdk (Client or MultiClient), in browsers and in node; has no dependency.
 * The protocol is docs/protocol.md; the Python half of the same is relay/reader.py, relay/gaps.py and relay/peer.py.
 *
 *     const peer = new RelayPeer(client, 'relay.<public key>');
 *     const stream = peer.open({ path: '/api/chat', method: 'POST', json: { model, messages } });
 *     for await (const { line } of stream) console.log(JSON.parse(line));
 *     console.log(stream.end.done_seen);
 */

/** Milliseconds; each is explained where it is used. */
export const TIMES = {
  gapFirst: 300, // frames overtake each other: a gap may close by itself
  gapMax: 5000,
  gapGone: 10_000, // what the relay does not keep any more may still be under way
  look: 100, // for gaps, at most so often
  quiet: 2500, // nothing came for so long: the request got lost, or the network was cut; ask again
  quietMax: 10_000,
};
/** So many askings without an answer, some 40 s: the relay is gone. Counted, because a sleeping phone's clock goes on. */
const TRIES = 4;
const MISSING_MAX = 256;
const GAPS_MAX = 4 * MISSING_MAX;
const AHEAD_MAX = 65_536;
/** Requests larger than this go in pieces of that many bytes: of what is lost, only the piece is sent again. */
const UPLOAD_OVER = 200_000;
const CHUNK_B = 60 * 1024;
const CHUNKS_AT_ONCE = 4;

/** What went wrong, for people (`message`) and programs (`code`, one of the list in docs/protocol.md, or 'lost'). */
export class RelayError extends Error {
  constructor(code, message, retryAfterMs) {
    super(message);
    this.name = 'RelayError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The frames of one request. Pure: it knows no clock and no network. */
export class Reader {
  #held = new Map();
  #next = 1;
  #top = 0; // the highest number that is known to have been sent

  /** @param have everything up to this number was given out before, by an earlier reader */
  constructor(id, have = 0) {
    this.#next = have + 1;
    this.id = id;
    this.begin = null;
    this.end = null;
    this.state = null; // of the last keepalive: 'queued', 'loading', 'generating'
    this.position = null; // in the relay's queue, from 1
    this.gone = new Set(); // numbers that the relay does not keep any more
    this.counts = { frames: 0, bodies: 0, lines: 0, doubled: 0, overtaken: 0 };
  }

  /** The last number up to which everything was given out. */
  get have() {
    return this.#next - 1;
  }

  /** Whether everything up to the end was given out. */
  get complete() {
    if (!this.end) return false;
    return this.end.event === 'relay.response' || this.#next > this.#last();
  }

  /** Take one event; the pieces ({seq, line} or {seq, bytes}) that follow those given out already. */
  feed(frame) {
    const event = String(frame?.event).toLowerCase();
    if (frame?.id !== this.id || !event.startsWith('relay.response')) return [];
    this.counts.frames += 1;
    switch (event) {
      case 'relay.response.begin':
        this.begin ??= frame;
        return [];
      case 'relay.response.end':
      case 'relay.response':
        this.end ??= frame;
        return [];
      case 'relay.response.keepalive':
        this.state = typeof frame.state === 'string' ? frame.state : null;
        this.position = Number.isInteger(frame.position) ? frame.position : null;
        this.#top = Math.max(this.#top, number(frame.last_seq));
        return [];
      case 'relay.response.gone':
        for (const seq of list(frame.missing)) this.gone.add(seq);
        return [];
      case 'relay.response.lines':
        this.state = 'generating';
        this.counts.bodies += 1;
        return list(frame.lines).flatMap((item) =>
          typeof item?.line === 'string' ? this.#take({ seq: number(item.seq), line: item.line }) : []);
      case 'relay.response.chunk':
        this.state = 'generating';
        this.counts.bodies += 1;
        return this.#take({ seq: number(frame.seq), bytes: decode(frame.b64) });
      default:
        return [];
    }
  }

  /** Whether `missing` names anything; quickly told. */
  get lacks() {
    return !this.complete && (this.#next <= this.#known || this.#headless || this.#endless);
  }

  /** Numbers that should be here and are not, the lowest of them: 0 is begin, -1 the end of a request the relay does not know. */
  missing() {
    if (this.complete) return [];
    const last = Math.min(this.#known, this.#next + AHEAD_MAX);
    const found = [...(this.#endless ? [-1] : []), ...(this.#headless ? [0] : [])];
    for (let seq = this.#next; seq <= last && found.length < GAPS_MAX; seq += 1) if (!this.#held.has(seq)) found.push(seq);
    return found;
  }

  get #known() {
    return this.end ? this.#last() : this.#top;
  }

  get #headless() {
    return !this.begin && this.#known > 0;
  }

  get #endless() {
    return !this.end && this.gone.has(-1);
  }

  #last() {
    return number(this.end?.last_seq);
  }

  #take(piece) {
    const { seq } = piece;
    if (seq < this.#next || this.#held.has(seq)) {
      this.counts.doubled += 1;
      return [];
    }
    if (seq > this.#next + AHEAD_MAX) return [];
    this.#top = Math.max(this.#top, seq);
    if (seq !== this.#next) this.counts.overtaken += 1;
    this.#held.set(seq, piece);
    const ready = [];
    for (let next; (next = this.#held.get(this.#next)); this.#next += 1) {
      this.#held.delete(this.#next);
      ready.push(next);
    }
    this.counts.lines += ready.length;
    return ready;
  }
}

/** A request too large for one message, as the messages that carry it. Pure. */
export class Parcel {
  #chunks = [];
  #of;

  /** The parcel that a request needs, or null: one message is enough. */
  static of(id, req) {
    if (req.json === undefined) return null;
    const body = new TextEncoder().encode(JSON.stringify(req.json));
    return body.length > UPLOAD_OVER ? new Parcel(id, req, body) : null;
  }

  constructor(id, { json, ...req }, body) {
    for (let at = 0; at < body.length; at += CHUNK_B) this.#chunks.push(body.subarray(at, at + CHUNK_B));
    this.req = req;
    this.#of = { id, upload_id: id, total_chunks: this.#chunks.length };
  }

  /** The message that says what comes. */
  get begin() {
    return { event: 'http.upload.begin', ...this.#of, req: this.req, content_type: 'application/json' };
  }

  /** The message that says that all was sent. */
  get end() {
    return { event: 'http.upload.end', ...this.#of };
  }

  /** The numbers of all chunks. */
  get all() {
    return this.#chunks.map((_, index) => index + 1);
  }

  /** The messages of some chunks, made when they are taken; 0 is begin. */
  * events(seqs) {
    for (const seq of seqs) {
      if (seq === 0) yield this.begin;
      else if (this.#chunks[seq - 1]) yield { event: 'http.upload.chunk', ...this.#of, seq, b64: encode(this.#chunks[seq - 1]) };
    }
  }
}

/** When to ask for what is missing: not at once, and ever more rarely. Pure. */
export class Gaps {
  #gaps = new Map();

  /** Of the numbers that are missing now, those to ask for; not those that are gone. */
  look(missing, gone, now) {
    const wanted = new Set(missing);
    for (const seq of this.#gaps.keys()) if (!wanted.has(seq)) this.#gaps.delete(seq);
    const asked = [];
    for (const seq of wanted) {
      const gap = this.#gaps.get(seq) ?? { at: now + TIMES.gapFirst, pause: TIMES.gapFirst, lostAt: null };
      this.#gaps.set(seq, gap);
      if (gone.has(seq)) {
        gap.lostAt ??= now + (seq === -1 ? 0 : TIMES.gapGone);
      } else if (now >= gap.at && asked.length < MISSING_MAX) {
        gap.pause = Math.min(2 * gap.pause, TIMES.gapMax);
        gap.at = now + gap.pause;
        asked.push(seq);
      }
    }
    return asked;
  }

  /** Numbers that will not come any more: gone at the relay, and under way for too long. */
  lost(now) {
    return [...this.#gaps].filter(([, gap]) => gap.lostAt !== null && now >= gap.lostAt).map(([seq]) => seq);
  }
}

/**
 * The answer to one request: iterate over it for its pieces in order. Leaving the loop early cancels the request.
 *
 * `state` is 'asking', 'queued', 'loading', 'generating', 'resuming', 'done' or 'lost'; `onstate` is called when it or
 * `position` changes.
 */
export class RelayStream {
  #peer;
  #event;
  #gaps = new Gaps();
  #ready = [];
  #wake = null;
  #timer = null;
  #startedAt;
  #heardAt;
  #askedAt;
  #quiet = TIMES.quiet;
  #unanswered = 0;
  #lookAt = 0;
  #posted = false;
  #error = null;
  #over = false;
  #signal;

  constructor(peer, id, event, { signal, onstate, have = 0 } = {}) {
    this.reader = new Reader(id, have);
    this.id = id;
    this.onstate = onstate ?? null;
    this.state = 'asking';
    this.position = null;
    this.resent = 0; // frames asked for again
    this.firstMs = null; // from the request to the first piece
    this.totalMs = null;
    this.#peer = peer;
    this.#event = event;
    this.#startedAt = this.#heardAt = this.#askedAt = peer.now();
    this.#signal = signal;
  }

  /** @internal Ask. */
  start() {
    if (this.#signal?.aborted) {
      this.#fail(new RelayError('cancelled', 'cancelled before it was asked'));
      return;
    }
    this.#signal?.addEventListener('abort', () => this.cancel(), { once: true });
    this.#ask();
    this.#arm();
  }

  #ask() {
    if (!(this.#event instanceof Parcel)) this.#peer.tell(this.#event);
    else this.#post([...(this.#posted ? [0] : [0, ...this.#event.all])]);
  }

  /** Send chunks, a few at a time: sealing them all at once would hold the page. */
  async #post(seqs) {
    let sent = 0;
    this.#posted = true;
    for (const event of this.#event.events(seqs)) {
      if (this.#over) return;
      this.#peer.tell(event);
      sent += 1;
      if (sent % CHUNKS_AT_ONCE === 0) await new Promise((done) => { setTimeout(done); });
      this.#askedAt = this.#peer.now();
    }
    this.#peer.tell(this.#event.end);
  }

  get begin() {
    return this.reader.begin;
  }

  get end() {
    return this.reader.end;
  }

  /** Stop: the relay closes the upstream connection, which frees the GPU. */
  cancel() {
    if (this.#over) return;
    this.#peer.tell({ event: 'relay.cancel', id: this.id });
    this.#fail(new RelayError('cancelled', 'cancelled'));
  }

  /** Leave it without a word to the relay: another stream goes on with the same request. */
  drop() {
    if (!this.#over) this.#fail(new RelayError('dropped', 'left to another reader'));
  }

  async *[Symbol.asyncIterator]() {
    try {
      while (true) {
        while (this.#ready.length) yield this.#ready.shift();
        if (this.#error) throw this.#error;
        if (this.#over) return;
        await new Promise((wake) => { this.#wake = wake; });
      }
    } finally {
      this.cancel();
    }
  }

  /** @internal A frame of this request. */
  feed(frame) {
    if (this.#over) return;
    this.#heardAt = this.#askedAt = this.#peer.now();
    this.#quiet = TIMES.quiet;
    this.#unanswered = 0;
    if (String(frame.event).toLowerCase() === 'http.upload.missing') {
      if (this.#event instanceof Parcel) this.#post(list(frame.missing));
      return;
    }
    const pieces = this.reader.feed(frame);
    if (pieces.length) this.firstMs ??= this.#heardAt - this.#startedAt;
    this.#ready.push(...pieces);
    if (this.reader.complete) this.#finish();
    else this.#show(this.reader.state ?? (this.begin ? 'generating' : this.state));
    this.#look();
  }

  #finish() {
    const { end } = this.reader;
    this.#over = true;
    if (end.event !== 'relay.response' && end.error) {
      this.#error = new RelayError(end.code ?? 'upstream_broke', end.error, end.retry_after_ms);
    }
    this.#close('done');
  }

  #fail(error) {
    this.#over = true;
    this.#error = error;
    this.#close(error.code === 'cancelled' || error.code === 'dropped' ? 'done' : 'lost');
  }

  #close(state) {
    this.totalMs = this.#peer.now() - this.#startedAt;
    clearTimeout(this.#timer);
    this.#peer.forget(this.id);
    this.#show(state);
    this.#stir();
  }

  #show(state) {
    const { position } = this.reader;
    if (state === this.state && position === this.position) return;
    this.state = state;
    this.position = position;
    this.onstate?.(this);
  }

  #stir() {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Ask for what is missing, repeat what may be lost, give up on a silent relay. */
  #look() {
    if (this.#over) return;
    const now = this.#peer.now();
    if (now >= this.#lookAt) this.#lookForGaps(now);
    if (this.#over) return;
    if (this.#unanswered >= TRIES && now >= this.#nudgeAt) {
      this.#fail(new RelayError('lost', this.reader.counts.frames ? 'the relay fell silent' : 'the relay does not answer'));
      return;
    }
    this.#nudge(now);
    this.#stir();
    this.#arm();
  }

  #lookForGaps(now) {
    this.#lookAt = now + TIMES.look;
    const { reader } = this;
    const asked = this.#gaps.look(reader.lacks ? reader.missing() : [], reader.gone, now);
    const lost = this.#gaps.lost(now);
    if (lost.length) {
      this.#fail(new RelayError('lost', lost[0] === -1 ? 'the relay does not know this request any more; was it started anew?'
        : `parts ${lost.slice(0, 10)} were lost, and the relay does not keep them any more`));
    } else if (asked.length) {
      this.resent += asked.length;
      this.#peer.tell({ event: 'relay.response.missing', id: this.id, missing: asked });
    }
  }

  /** When the request, or the wish for what follows, is to be sent again. */
  get #nudgeAt() {
    const begun = this.reader.counts.frames > 0;
    const at = this.#askedAt + this.#quiet;
    // While a model loads or a request waits, keepalives are all that comes.
    const waits = begun && this.reader.state !== 'generating';
    return waits ? Math.max(at, this.#heardAt + TIMES.quietMax + TIMES.quiet) : at;
  }

  #nudge(now) {
    if (now < this.#nudgeAt) return;
    const begun = this.reader.counts.frames > 0;
    this.#askedAt = now;
    this.#unanswered += 1;
    this.#quiet = Math.min(2 * this.#quiet, TIMES.quietMax);
    if (begun) this.#show('resuming');
    if (begun) this.#peer.tell({ event: 'relay.resume', id: this.id, have: this.reader.have });
    else this.#ask();
  }

  #arm() {
    clearTimeout(this.#timer);
    if (this.#over) return;
    const due = this.reader.lacks ? Math.min(this.#lookAt, this.#nudgeAt) : this.#nudgeAt;
    this.#timer = setTimeout(() => this.#look(), Math.max(10, due - this.#peer.now()));
  }
}

/** Asks one relay; any number of requests at once. */
export class RelayPeer {
  #client;
  #streams = new Map();
  #calls = new Map();

  /**
   * @param client a connected Client or MultiClient of nkn-sdk
   * @param address the relay's NKN address
   * @param now a clock in milliseconds
   * @param uploads whether the relay takes requests in pieces (`upload` among the features of relay.info)
   */
  constructor(client, address, { now = () => performance.now(), uploads = true } = {}) {
    this.address = address;
    this.uploads = uploads;
    this.now = now;
    this.#client = client;
    client.onMessage(({ src, payload, isEncrypted }) => {
      if (src === address && isEncrypted) this.#take(payload);
    });
  }

  /** Send a streaming request: { path, method, json, headers, timeout_ms, service … } of docs/protocol.md. */
  open(req, options) {
    const id = crypto.randomUUID();
    const asked = { stream: 'chunks', ...req };
    return this.#start(id, (this.uploads && Parcel.of(id, asked)) || { event: 'relay.http', id, req: asked }, options);
  }

  /** Go on with a stream of this key that was broken off, by a page that was loaded anew for one: what follows `have`. */
  resume(id, have, options) {
    return this.#start(id, { event: 'relay.resume', id, have }, { ...options, have });
  }

  #start(id, event, options) {
    const stream = new RelayStream(this, id, event, options);
    this.#streams.set(id, stream);
    stream.start();
    return stream;
  }

  /** `relay.ping`, `relay.info` or `relay.health`: the answer's fields, and rttMs. */
  call(event, { timeoutMs = 10_000, ...fields } = {}) {
    const id = crypto.randomUUID();
    const startedAt = this.now();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new RelayError('lost', `no answer from ${this.address} within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      this.#calls.set(id, (frame) => {
        clearTimeout(timer);
        this.#calls.delete(id);
        resolve({ ...frame, rttMs: this.now() - startedAt });
      });
      this.tell({ event, id, ...fields });
    });
  }

  /** A whole answer: status, headers and body of a request without stream, as { status, headers, json, bytes }. */
  async fetch(req, { timeoutMs = 60_000 } = {}) {
    const answer = await this.#single(req, timeoutMs);
    if (answer.error) throw new RelayError(answer.code ?? 'upstream_broke', answer.error, answer.retry_after_ms);
    return { status: answer.status, headers: answer.headers, json: answer.json, bytes: decode(answer.body_b64) };
  }

  async #single(req, timeoutMs) {
    const stream = this.open({ ...req, stream: undefined }, {});
    const timer = setTimeout(() => stream.cancel(), timeoutMs);
    try {
      for await (const _ of stream); // a request without stream has no pieces
    } finally {
      clearTimeout(timer);
    }
    return stream.end;
  }

  /** @internal Send one event; losses are made good by asking again. */
  tell(event) {
    const sent = this.#client.send(this.address, JSON.stringify(event), { noReply: true });
    sent?.catch?.(() => {}); // not connected now: the next look tries again
  }

  /** @internal */
  forget(id) {
    this.#streams.delete(id);
  }

  #take(payload) {
    let frame;
    try {
      frame = JSON.parse(typeof payload === 'string' ? payload : new TextDecoder().decode(payload));
    } catch {
      return;
    }
    if (frame === null || typeof frame !== 'object') return;
    this.#streams.get(frame.id)?.feed(frame);
    this.#calls.get(frame.id)?.(frame);
  }
}

function number(value) {
  return Number.isSafeInteger(value) ? value : 0;
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function encode(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function decode(b64) {
  if (typeof b64 !== 'string') return new Uint8Array();
  try {
    return Uint8Array.from(atob(b64), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
