/** How good the way is: a train of pings, and streams measured line by line, over NKN and beside it over HTTP. */
const PINGS_KEPT = 240;
const PING_EVERY_MS = 500;
const PING_LOST_MS = 5000;

const $ = (id) => document.getElementById(id);

/** The value below which a share of the sorted list lies; null for an empty one. */
export function percentile(values, share) {
  if (!values.length) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? sorted[0];
}

export class Latency {
  #connection = null;
  #settings = null;
  #pings = []; // { at, ms }, ms null for a lost one
  #pinging = null;
  #runs = [];
  #stop = null;
  #plot = null;
  #reconnect;

  constructor({ reconnect }) {
    this.#reconnect = reconnect;
    $('ping').addEventListener('click', () => this.#toggle());
    $('stream-test').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#test(event.target);
    });
    $('stop-test').addEventListener('click', () => this.#stop?.abort());
    $('export').addEventListener('click', () => this.#export());
  }

  connected(connection, models, settings) {
    this.#connection = connection;
    this.#settings = settings;
    const select = $('stream-test').model;
    select.replaceChildren(...models.map((name) => new Option(name, name)));
  }

  // -- pings ------------------------------------------------------------------------------

  #toggle() {
    if (this.#pinging) clearInterval(this.#pinging);
    this.#pinging = this.#pinging ? null : setInterval(() => this.#ping(), PING_EVERY_MS);
    $('ping').setAttribute('aria-pressed', String(Boolean(this.#pinging)));
    $('ping').textContent = this.#pinging ? 'Stop pinging' : 'Start pinging';
  }

  async #ping() {
    const peer = this.#connection?.peer;
    if (!peer) return;
    const ping = { at: Date.now() / 1000, ms: null };
    this.#pings.push(ping);
    if (this.#pings.length > PINGS_KEPT) this.#pings.shift();
    try {
      ping.ms = (await peer.call('relay.ping', { timeoutMs: PING_LOST_MS })).rttMs;
    } catch {
      ping.lost = true;
    }
    this.#draw();
  }

  #draw() {
    const over = this.#pings.filter((ping) => ping.ms !== null || ping.lost);
    const times = over.filter((ping) => ping.ms !== null).map((ping) => ping.ms);
    const lost = over.length - times.length;
    const show = (share) => `${percentile(times, share)?.toFixed(1) ?? '–'} ms`;
    $('ping-figures').textContent = `${over.length} pings, p50 ${show(0.5)}, p95 ${show(0.95)}, lost ${lost} (${((100 * lost) / Math.max(1, over.length)).toFixed(0)} %)`;
    const data = [over.map((ping) => ping.at), over.map((ping) => ping.ms)];
    if (!this.#plot) this.#plot = this.#chart(data);
    this.#plot.setData(data);
  }

  #chart(data) {
    const box = $('ping-chart');
    const colour = getComputedStyle(document.documentElement).getPropertyValue('--ink').trim();
    const axis = { stroke: colour, grid: { stroke: 'rgb(128 128 128 / 25%)' } };
    const plot = new uPlot({
      width: box.clientWidth, height: 220, legend: { show: false }, cursor: { show: false },
      scales: { y: { range: (_, __, max) => [0, Math.max(10, (max ?? 10) * 1.1)] } },
      series: [{}, { stroke: '#2a9d6f', width: 2, points: { show: true, size: 4 }, spanGaps: false }],
      axes: [axis, { ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} ms`), size: 60 }],
    }, data, box);
    new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 220 })).observe(box);
    return plot;
  }

  // -- streams ----------------------------------------------------------------------------

  async #test(form) {
    if (!this.#connection) return;
    const wish = { model: form.model.value, prompt: form.prompt.value, tokens: Number(form.tokens.value) };
    const parts = form.parts.value.split(/[\s,]+/).map(Number).filter((n) => n >= 1 && n <= 16);
    const direct = form.direct.value.trim();
    this.#stop = new AbortController();
    $('stop-test').disabled = false;
    try {
      if (direct) await this.#run('HTTP, direct', () => overHttp(direct, wish, this.#stop.signal));
      for (const count of parts.length ? parts : [this.#settings.subClients]) {
        if (this.#stop.signal.aborted) break;
        if (count !== this.#settings.subClients && !(await this.#reconnect(count))) break;
        await this.#run(`NKN, ${count} part${count > 1 ? 's' : ''}`, () => overNkn(this.#connection.peer, wish, this.#stop.signal));
      }
    } finally {
      $('stop-test').disabled = true;
    }
  }

  async #run(way, work) {
    let run;
    try {
      run = { way, ...(await work()) };
    } catch (error) {
      run = { way, error: error.message };
    }
    this.#runs.unshift({ at: new Date().toISOString(), ...run });
    $('runs').hidden = $('export').disabled = false;
    $('runs').hidden = false;
    $('export').disabled = false;
    $('runs').tBodies[0].prepend(row(run));
  }

  #export() {
    const kept = { settings: { subClients: this.#settings?.subClients }, pings: this.#pings, runs: this.#runs };
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(kept, null, 1)], { type: 'application/json' }));
    link.download = `latency-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }
}

/** A stream's figures, from the times at which its lines came. */
class Figures {
  #startedAt = performance.now();
  #at = [];
  #last = null;

  line(text) {
    this.#at.push(performance.now());
    this.#last = text;
  }

  tell(more) {
    const gaps = this.#at.slice(1).map((at, index) => at - this.#at[index]);
    let done = {};
    try {
      done = JSON.parse(this.#last);
    } catch { /* an answer that broke off has no last line */ }
    return {
      firstMs: this.#at.length ? this.#at[0] - this.#startedAt : null,
      gapP50: percentile(gaps, 0.5),
      gapP95: percentile(gaps, 0.95),
      tokensPerS: done.eval_count && done.eval_duration ? (1e9 * done.eval_count) / done.eval_duration : null,
      totalMs: performance.now() - this.#startedAt,
      lines: this.#at.length,
      ...more,
    };
  }
}

function request({ model, prompt, tokens }) {
  return { model, prompt, stream: true, options: { num_predict: tokens, seed: 1 } };
}

async function overNkn(peer, wish, signal) {
  const figures = new Figures();
  const stream = peer.open({ path: '/api/generate', method: 'POST', json: request(wish), timeout_ms: 300_000 }, { signal });
  for await (const { line } of stream) figures.line(line);
  const { counts } = stream.reader;
  return figures.tell({
    linesPerFrame: counts.lines / Math.max(1, counts.bodies),
    askedAgain: stream.resent,
    doubled: counts.doubled,
    end: { ok: stream.end.ok, done_seen: stream.end.done_seen, t_ms: stream.end.t_ms },
  });
}

async function overHttp(base, wish, signal) {
  const figures = new Figures();
  const answer = await fetch(new URL('/api/generate', base), { method: 'POST', body: JSON.stringify(request(wish)), signal });
  if (!answer.ok) throw new Error(`${base} answered ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (let part; !(part = await reader.read()).done;) {
    const lines = (rest + part.value).split('\n');
    rest = lines.pop();
    for (const line of lines) figures.line(line);
  }
  return figures.tell({ end: { ok: true } });
}

function row(run) {
  const ms = (value) => (value === null || value === undefined ? '–' : `${value.toFixed(value < 10 ? 1 : 0)} ms`);
  const cells = run.error ? [run.way, run.error] : [
    run.way, ms(run.firstMs), ms(run.gapP50), ms(run.gapP95), run.linesPerFrame?.toFixed(1) ?? '–', run.tokensPerS?.toFixed(1) ?? '–',
    run.askedAgain ?? '–', run.doubled ?? '–', ms(run.totalMs), run.end.ok ? 'whole' : 'not whole',
  ];
  const line = document.createElement('tr');
  for (const [index, text] of cells.entries()) {
    const cell = document.createElement(index ? 'td' : 'th');
    cell.textContent = text;
    if (run.error && index) cell.colSpan = 9;
    line.append(cell);
  }
  return line;
}
