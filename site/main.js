/** The page: tabs, the connection, and who needs to know of it. */
import { Chat } from '/chat.js';
import { Connection, forgetSeed, fromFragment } from '/connection.js';
import { Latency } from '/latency.js';

const $ = (id) => document.getElementById(id);
const form = $('connect');
const asked = fromFragment();
const chat = await Chat.open();
const latency = new Latency({ reconnect: (parts) => connect({ ...wanted(), subClients: parts }) });
const AGAIN_MS = 15_000;
let connection = null;
let again = null;

function say(state, words) {
  const status = $('status');
  status.dataset.state = state;
  status.textContent = words;
}

function wanted() {
  return {
    relay: form.relay.value.trim(),
    rpc: form.rpc.value.trim(),
    tls: asked.tls,
    subClients: Math.min(16, Math.max(1, Number(form.subClients.value) || 4)),
  };
}

async function connect(settings, why = '') {
  connection?.close();
  connection = null;
  clearTimeout(again);
  let mine;
  try {
    mine = new Connection(settings);
  } catch (error) {
    say('lost', error.message);
    return null;
  }
  connection = mine;
  say('connecting', `${why} Connecting to NKN …`.trim());
  $('own').textContent = mine.address;
  try {
    const info = await mine.ready();
    const { models, said } = await modelsOf(mine.peer);
    if (connection !== mine) return null;
    localStorage.setItem('relay', settings.relay);
    say('connected', `Connected to ${settings.relay.slice(0, 20)}… (relay ${info.version ?? 'of another kind'}, ${said}).`);
    performance.mark('connected');
    chat.connected(mine.peer, models);
    latency.connected(mine, models, settings);
    mine.addEventListener('change', () => mine === connection && mine.state === 'lost' && connect(settings, mine.why));
    mine.watch();
    return mine;
  } catch (error) {
    if (connection === mine) lost(`${error.message}. Is the relay running there, and does it allow your key?`, settings);
    return null;
  }
}

/** Say it, and try again while somebody looks. */
function lost(why, settings) {
  say('lost', `${why.replace(/\.?$/, '.')} Trying again.`);
  clearTimeout(again);
  again = setTimeout(() => (document.visibilityState === 'visible' ? connect(settings) : lost(why, settings)), AGAIN_MS);
}

/** The names, and what to say of them; a relay without its Ollama is still a relay, and pings tell of the way to it. */
async function modelsOf(peer) {
  try {
    const { status, json } = await peer.fetch({ service: 'ollama', path: '/api/tags' });
    if (status >= 400) throw new Error(json?.error ?? `Ollama answered with status ${status}`);
    const models = (json?.models ?? []).map((model) => String(model.name)).sort();
    return { models, said: `${models.length} model${models.length === 1 ? '' : 's'}` };
  } catch (error) {
    return { models: [], said: `but no models: ${error.message}` };
  }
}

function show(tab) {
  for (const other of document.querySelectorAll('[role=tab]')) {
    const chosen = other === tab;
    other.setAttribute('aria-selected', String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    $(other.getAttribute('aria-controls')).hidden = !chosen;
  }
}

for (const tab of document.querySelectorAll('[role=tab]')) {
  tab.addEventListener('click', () => show(tab));
  tab.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft') return;
    const other = tab.nextElementSibling ?? tab.previousElementSibling;
    other.focus();
    show(other);
  });
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  connect(wanted());
});
$('forget-identity').addEventListener('click', () => {
  forgetSeed();
  if (connection) connect(wanted());
});

form.relay.value = asked.relay || localStorage.getItem('relay') || '';
form.rpc.value = asked.rpc;
if (asked.parts) form.subClients.value = asked.parts;
performance.mark('interactive');
if (asked.relay) connect(wanted());
