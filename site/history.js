/** Conversations, kept in this browser alone, in IndexedDB; where that is not to be had, until the page closes. */
const STORE = 'conversations';

export class History {
  /** All conversations, newest first: { id, at, title, model, system, options, messages, pending }. */
  all = [];
  #base = null;
  #due = new Map();

  /** Read what this browser keeps. */
  static async open(name = 'gpu-over-nkn') {
    const history = new History();
    try {
      history.#base = await asked(indexedDB.open(name, 1), (base) => base.createObjectStore(STORE, { keyPath: 'id' }));
      history.all = await asked(history.#store('readonly').getAll());
      history.all.sort((a, b) => b.at - a.at);
    } catch { /* a private window: nothing is kept */ }
    return history;
  }

  add(model) {
    const made = { id: crypto.randomUUID(), at: Date.now(), title: 'New conversation', model, system: '', options: {}, messages: [] };
    this.all.unshift(made);
    return made;
  }

  /** Write a conversation down, at most every 300 ms; now when the page is about to go. */
  keep(conversation, { now = false } = {}) {
    if (now) this.#put(conversation);
    else if (!this.#due.has(conversation.id)) this.#due.set(conversation.id, setTimeout(() => this.#put(conversation), 300));
  }

  remove(conversation) {
    clearTimeout(this.#due.get(conversation.id));
    this.#due.delete(conversation.id);
    this.all = this.all.filter((one) => one !== conversation);
    this.#store('readwrite')?.delete(conversation.id);
  }

  clear() {
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    this.all = [];
    this.#store('readwrite')?.clear();
  }

  #put(conversation) {
    clearTimeout(this.#due.get(conversation.id));
    this.#due.delete(conversation.id);
    if (this.all.includes(conversation)) this.#store('readwrite')?.put(structuredClone(conversation));
  }

  #store(mode) {
    return this.#base?.transaction(STORE, mode).objectStore(STORE);
  }
}

function asked(request, upgrade) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
    if (upgrade) request.onupgradeneeded = () => upgrade(request.result);
  });
}
