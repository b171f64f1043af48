/** Conversations with the models behind the relay; any number of them stream at once. */
import { History } from '/history.js';
import { rendered } from '/markdown.js';
import { room, shrunk } from '/pictures.js';

const $ = (id) => document.getElementById(id);
const DRAW_EVERY_MS = 60;
const DRAW_SHARE = 8; // of the time at most one part in eight goes into drawing, however long an answer gets
const STATES = {
  asking: () => 'asking …',
  queued: ({ position }) => (position ? `waiting, ${position}${['th', 'st', 'nd', 'rd'][position] ?? 'th'} in line` : 'waiting'),
  loading: (_, seconds) => `loading the model, ${seconds} s`,
  generating: () => '',
  resuming: () => 'the network is slow; asking for the rest …',
};

export class Chat {
  #peer = null;
  #models = [];
  #history;
  #current = null;
  #live = new Map(); // conversation id → { stream, startedAt }
  #pictures = [];

  /** The chat of this browser's history. */
  static async open() {
    return new Chat(await History.open());
  }

  constructor(history) {
    this.#history = history;
    $('new-chat').addEventListener('click', () => this.#open(this.#history.add(this.#models[0] ?? '')));
    $('delete-all').addEventListener('click', () => {
      for (const { stream } of this.#live.values()) stream.cancel();
      this.#history.clear();
      this.#open(this.#history.add(this.#models[0] ?? ''));
    });
    $('say').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#say();
    });
    $('words').addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        $('say').requestSubmit();
      }
    });
    $('stop').addEventListener('click', () => this.#live.get(this.#current.id)?.stream.cancel());
    $('picture').addEventListener('change', (event) => this.#picture(event.target));
    for (const id of ['system', 'temperature', 'predict', 'chat-model']) {
      $(id).addEventListener('change', () => this.#settings());
    }
    this.#open(this.#history.all[0] ?? this.#history.add(''));
    setInterval(() => this.#tick(), 1000);
    addEventListener('pagehide', () => {
      for (const { conversation } of this.#live.values()) this.#history.keep(conversation, { now: true });
    });
  }

  connected(peer, models) {
    this.#peer = peer;
    this.#models = models;
    $('chat-model').replaceChildren(...models.map((name) => new Option(name, name)));
    if (!models.includes(this.#current.model)) this.#current.model = models[0] ?? '';
    this.#open(this.#current);
    for (const conversation of this.#history.all) this.#goOn(conversation);
  }

  // -- what is shown ----------------------------------------------------------------------

  #open(conversation) {
    this.#current = conversation;
    $('chat-model').value = conversation.model;
    $('system').value = conversation.system;
    $('temperature').value = conversation.options.temperature ?? '';
    $('predict').value = conversation.options.num_predict ?? '';
    $('messages').replaceChildren(...conversation.messages.map((message) => this.#bubble(message)));
    $('messages').lastElementChild?.scrollIntoView({ block: 'end' });
    this.#list();
    this.#buttons();
  }

  #list() {
    $('chats').replaceChildren(...this.#history.all.map((conversation) => {
      const item = document.createElement('li');
      const open = document.createElement('button');
      open.textContent = `${this.#live.has(conversation.id) ? '● ' : ''}${conversation.title}`;
      open.setAttribute('aria-current', String(conversation === this.#current));
      open.addEventListener('click', () => this.#open(conversation));
      const remove = document.createElement('button');
      remove.textContent = '×';
      remove.className = 'danger';
      remove.setAttribute('aria-label', `Delete “${conversation.title}”`);
      remove.addEventListener('click', () => this.#remove(conversation));
      item.append(open, remove);
      return item;
    }));
  }

  #remove(conversation) {
    this.#live.get(conversation.id)?.stream.cancel();
    this.#history.remove(conversation);
    if (conversation !== this.#current) this.#list();
    else this.#open(this.#history.all[0] ?? this.#history.add(this.#models[0] ?? ''));
  }

  #buttons() {
    const live = this.#live.has(this.#current.id);
    $('stop').hidden = !live;
    $('send').hidden = live;
  }

  #bubble(message) {
    const item = document.createElement('li');
    item.className = message.role;
    const text = document.createElement('div');
    text.className = 'text';
    const note = document.createElement('p');
    note.className = 'note';
    const thoughts = document.createElement('details');
    const thinking = document.createElement('div');
    thoughts.className = 'thoughts';
    thoughts.append(Object.assign(document.createElement('summary'), { textContent: 'Thoughts' }), thinking);
    item.append(...(message.role === 'assistant' ? [thoughts] : []), text, note);
    for (const image of message.images ?? []) {
      const picture = new Image();
      picture.src = `data:image/jpeg;base64,${image}`;
      picture.alt = 'a picture you sent';
      item.prepend(picture);
    }
    item.append(this.#tools(message));
    message.draw = () => {
      text.replaceChildren(message.role === 'assistant' ? rendered(message.content) : message.content);
      thoughts.hidden = !message.thinking;
      thinking.textContent = message.thinking ?? '';
      note.textContent = message.note ?? '';
    };
    Object.defineProperty(message, 'draw', { enumerable: false });
    message.draw();
    return item;
  }

  #tools(message) {
    const tools = document.createElement('p');
    tools.className = 'tools';
    const button = (name, does) => {
      const made = document.createElement('button');
      made.type = 'button';
      made.textContent = name;
      made.addEventListener('click', does);
      tools.append(made);
    };
    button('Copy', () => navigator.clipboard?.writeText(message.content));
    if (message.role === 'assistant') button('Retry', () => this.#retry(message));
    return tools;
  }

  #tick() {
    for (const { stream, startedAt, answer } of this.#live.values()) {
      const seconds = Math.round((performance.now() - startedAt) / 1000);
      answer.note = STATES[stream.state]?.(stream, seconds) ?? '';
      answer.draw();
    }
  }

  // -- what is asked ----------------------------------------------------------------------

  #settings() {
    const { options } = this.#current;
    this.#current.model = $('chat-model').value;
    this.#current.system = $('system').value;
    for (const [name, id] of [['temperature', 'temperature'], ['num_predict', 'predict']]) {
      if ($(id).value === '') delete options[name];
      else options[name] = Number($(id).value);
    }
    this.#history.keep(this.#current);
  }

  async #picture(input) {
    const left = room(this.#peer?.uploads) - this.#pictures.reduce((sum, one) => sum + one.length, 0);
    try {
      for (const file of input.files) this.#pictures.push(await shrunk(file, left));
    } catch (error) {
      $('pictures').textContent = error.message;
    }
    input.value = '';
    this.#previews();
  }

  #previews() {
    $('pictures').hidden = !this.#pictures.length;
    $('pictures').replaceChildren(...this.#pictures.map((data, index) => {
      const button = document.createElement('button');
      const picture = new Image();
      picture.src = `data:image/jpeg;base64,${data}`;
      picture.alt = 'a picture to send; press to take it out';
      button.type = 'button';
      button.append(picture);
      button.addEventListener('click', () => {
        this.#pictures.splice(index, 1);
        this.#previews();
      });
      return button;
    }));
  }

  #say() {
    const content = $('words').value.trim();
    const conversation = this.#current;
    if (!content || this.#live.has(conversation.id)) return;
    const message = { role: 'user', content };
    if (this.#pictures.length) message.images = this.#pictures.splice(0);
    if (!conversation.messages.length) conversation.title = content.slice(0, 60);
    conversation.at = Date.now();
    conversation.messages.push(message);
    $('words').value = '';
    this.#previews();
    $('messages').append(this.#bubble(message));
    this.#answer(conversation);
  }

  #retry(message) {
    const conversation = this.#current;
    const index = conversation.messages.indexOf(message);
    if (index < 0 || this.#live.has(conversation.id)) return;
    delete conversation.pending;
    conversation.messages.length = index;
    this.#open(conversation);
    this.#answer(conversation);
  }

  #answer(conversation) {
    const json = request(conversation, room(this.#peer?.uploads));
    const answer = { role: 'assistant', content: '', note: '' };
    conversation.messages.push(answer);
    const bubble = this.#bubble(answer);
    if (conversation === this.#current) {
      $('messages').append(bubble);
      bubble.scrollIntoView({ block: 'end' });
    }
    if (!this.#peer) {
      answer.note = 'Not connected: give a relay above, then press Retry.';
      answer.draw();
      return;
    }
    const wish = { path: '/api/chat', method: 'POST', json, timeout_ms: 600_000 };
    const stream = this.#peer.open(wish, { onstate: () => this.#tick() });
    conversation.pending = { id: stream.id, relay: this.#peer.address, have: 0 };
    this.#follow(conversation, answer, stream);
  }

  /** An answer that a reload or a new connection broke off: the relay still has the rest, for half a minute at least. */
  #goOn(conversation) {
    const { pending } = conversation;
    if (!pending || pending.relay !== this.#peer.address) return;
    this.#live.get(conversation.id)?.stream.drop();
    const answer = conversation.messages.at(-1);
    const stream = this.#peer.resume(pending.id, pending.have, { onstate: () => this.#tick() });
    this.#follow(conversation, answer, stream);
  }

  async #follow(conversation, answer, stream) {
    const mine = { conversation, stream, startedAt: performance.now(), answer };
    this.#live.set(conversation.id, mine);
    this.#history.keep(conversation, { now: true }); // what a reload needs to go on with it
    this.#list();
    this.#buttons();
    this.#tick();
    await this.#read(mine);
    if (this.#live.get(conversation.id) !== mine) return; // a newer stream goes on with it
    this.#live.delete(conversation.id);
    delete conversation.pending;
    this.#history.keep(conversation);
    this.#list();
    this.#buttons();
  }

  async #read({ conversation, stream, answer }) {
    let drawAt = 0;
    let note = '';
    try {
      for await (const { seq, line } of stream) {
        const part = JSON.parse(line);
        if (part.error) throw new Error(part.error);
        answer.content += part.message?.content ?? '';
        if (part.message?.thinking) answer.thinking = (answer.thinking ?? '') + part.message.thinking;
        if (part.done) note = summary(part);
        conversation.pending.have = seq;
        const now = performance.now();
        if (now < drawAt) continue;
        this.#show(answer, answer.content ? '' : 'thinking …');
        this.#history.keep(conversation);
        drawAt = now + Math.max(DRAW_EVERY_MS, DRAW_SHARE * (performance.now() - now));
      }
    } catch (error) {
      if (error.code === 'dropped') return;
      note = error.code === 'cancelled' ? 'Stopped.' : `${error.message}. Press Retry.`;
    }
    this.#show(answer, note);
  }

  #show(answer, note) {
    answer.note = note;
    answer.draw?.();
    this.#scroll();
  }

  /** Keep the newest words in sight, unless somebody reads further up. */
  #scroll() {
    const list = $('messages');
    if (list.scrollHeight - list.scrollTop - list.clientHeight < 160) list.scrollTop = list.scrollHeight;
  }
}

/** What the last line of an answer tells of it: { eval_count, eval_duration in ns, done_reason }. */
function summary({ eval_count: tokens, eval_duration: ns, done_reason: why }) {
  const limit = why === 'length' ? ' It stopped at the limit of tokens.' : '';
  return tokens && ns ? `${tokens} tokens, ${((1e9 * tokens) / ns).toFixed(1)}/s.${limit}` : limit.trim();
}

/** The body of a request: all that was said, and as many of the newest pictures as it can carry. */
function request({ model, system, options, messages }, most) {
  let left = most;
  const sent = messages.toReversed().map(({ role, content, images }) => {
    const kept = (images ?? []).filter((image) => (left -= image.length) >= 0);
    return { role, content, ...(kept.length && { images: kept }) };
  }).reverse();
  if (system) sent.unshift({ role: 'system', content: system });
  return { model, messages: sent, stream: true, options };
}
