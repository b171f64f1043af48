/** The way to the relay: this browser's identity, the NKN client, and the state of both. */
import { RelayPeer } from '/relay-peer.js';

const SEED = 'identity.seed';
const READY_TRIES = 3;
const BEAT_EVERY_MS = 20_000;
const BEAT_TRIES = 2;
const BEAT_LOST_MS = 4000;

/** Settings in the address's fragment, which no server ever sees: #relay=ADDRESS&rpc=URL&parts=N&tls */
export function fromFragment(hash = location.hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  return { relay: given.get('relay') ?? '', rpc: given.get('rpc') ?? '', parts: Number(given.get('parts')) || 0, tls: given.has('tls') };
}

/** This browser's secret, 64 hex digits; it is the address, and never leaves the browser. */
export function seed() {
  let kept = localStorage.getItem(SEED);
  if (!/^[0-9a-f]{64}$/.test(kept ?? '')) {
    kept = [...crypto.getRandomValues(new Uint8Array(32))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    localStorage.setItem(SEED, kept);
  }
  return kept;
}

export function forgetSeed() {
  localStorage.removeItem(SEED);
}

/** One connection. `state` is 'connecting', 'connected', 'lost' or 'closed'; 'change' events tell. */
export class Connection extends EventTarget {
  #beating = false;
  #unwatch = () => {};

  constructor({ relay, rpc, subClients, tls = false }) {
    super();
    this.relay = relay;
    this.state = 'connecting';
    this.why = '';
    // On loopback nobody listens in, and browsers trust it without a certificate.
    const loopback = /^http:\/\/(127\.0\.0\.1|localhost)(:|\/|$)/.test(rpc);
    if (/^http:/.test(rpc) && !loopback) throw new Error('this page may speak plain http to 127.0.0.1 and localhost alone');
    this.client = new nkn.MultiClient({
      seed: seed(),
      identifier: 'web',
      numSubClients: subClients,
      originalClient: false,
      responseTimeout: 0,
      ...(rpc ? { rpcServerAddr: rpc, tls: tls || !loopback } : {}),
    });
    this.peer = new RelayPeer(this.client, relay);
    this.client.onConnect(() => this.#to('connected'));
    this.client.onConnectFailed?.(() => this.#to('lost', 'no NKN node could be reached'));
    this.client.onWsError?.(() => {});
  }

  get address() {
    return this.client.addr;
  }

  /** Look from now on whether the relay still answers: now and then, and at once when somebody looks at the page again. */
  watch() {
    const beat = () => document.visibilityState === 'visible' && this.#beat();
    const timer = setInterval(beat, BEAT_EVERY_MS);
    document.addEventListener('visibilitychange', beat);
    addEventListener('online', beat);
    this.#unwatch = () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', beat);
      removeEventListener('online', beat);
    };
  }

  async #beat() {
    if (this.#beating) return;
    this.#beating = true;
    let answered = false;
    for (let tries = 0; tries < BEAT_TRIES && !answered; tries += 1) {
      answered = await this.peer.call('relay.ping', { timeoutMs: BEAT_LOST_MS }).then(() => true, () => false);
    }
    this.#beating = false;
    if (!answered) this.#to('lost', 'The relay does not answer any more.');
  }

  /** Resolves when the relay has answered once. */
  async ready(timeoutMs = 30_000) {
    if (this.state !== 'connected') {
      await new Promise((done, fail) => {
        const timer = setTimeout(() => fail(new Error('no NKN node could be reached; is the network up?')), timeoutMs);
        this.addEventListener('change', () => {
          if (this.state === 'connecting') return;
          clearTimeout(timer);
          if (this.state === 'connected') done();
          else fail(new Error(this.why || this.state));
        });
      });
    }
    for (let tries = READY_TRIES; ; tries -= 1) {
      try {
        const info = await this.peer.call('relay.info', { timeoutMs: timeoutMs / READY_TRIES });
        this.peer.uploads = Boolean(info.features?.includes?.('upload'));
        return info;
      } catch (error) {
        if (tries <= 1 || this.state === 'closed') throw error;
      }
    }
  }

  close() {
    this.#to('closed');
    this.#unwatch();
    this.client.close();
  }

  #to(state, why = '') {
    if (this.state === 'closed') return;
    this.state = state;
    this.why = why;
    this.dispatchEvent(new Event('change'));
  }
}
