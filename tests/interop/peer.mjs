// The official NKN SDK as a child process of a test: JSON lines in, JSON lines out; ends when stdin does.
//
// in   {"n":1,"do":"open","name":"a","multi":true,"options":{"seed","identifier","numSubClients","originalClient","rpcServerAddr",…},"wait":"all"|"first"|"none"}
//      {"n":2,"do":"handle","name":"a","reply":"ack"|"none"|"echo"|{"text":…}|{"base64":…}}
//      {"n":3,"do":"send","name":"a","dest":"…"|["…"],"text":…|"base64":…,"options":{"noReply","msgHoldingSeconds","encrypt","messageId" in hex,…}}
//      {"n":4,"do":"close"|"state","name":"a"}, {"n":5,"do":"closeAll"}
// out  {"n":1,"ok":{…}} or {"n":1,"error":"…"}, and {"event":"message"|"connect"|"wsError"|"connectFailed","name":"a",…}
import { createInterface } from 'node:readline';
import nkn from 'nkn-sdk';

const out = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const clients = new Map();
const replies = new Map();

const dataOf = (given) => (given.base64 === undefined ? given.text : new Uint8Array(Buffer.from(given.base64, 'base64')));
const told = (data) => {
  if (data === null || data === undefined) return { kind: 'ack' };
  return typeof data === 'string' ? { kind: 'text', text: data } : { kind: 'binary', base64: Buffer.from(data).toString('base64') };
};
const parts = (client) => (client.clients ? Object.values(client.clients) : [client]);

function open({ name, multi, options, wait = 'all' }) {
  const client = multi ? new nkn.MultiClient(options) : new nkn.Client(options);
  clients.set(name, client);
  replies.set(name, 'ack');
  client.onMessage(({ src, payload, messageId, isEncrypted }) => {
    const id = Buffer.from(messageId || []).toString('hex');
    out({ event: 'message', name, src, id, encrypted: isEncrypted, ...told(payload) });
    const reply = replies.get(name);
    if (reply === 'ack') return undefined;
    if (reply === 'none') return false;
    return reply === 'echo' ? payload : dataOf(reply);
  });
  for (const part of parts(client)) {
    part.onConnect(() => out({ event: 'connect', name, addr: part.addr, node: part.node && part.node.addr }));
    part.onConnectFailed(() => out({ event: 'connectFailed', name, addr: part.addr }));
    part.onWsError((event) => out({ event: 'wsError', name, addr: part.addr, why: String(event && event.message) }));
  }
  const ready = { all: () => Promise.all(parts(client).map((part) => new Promise((done) => { part.onConnect(done); }))),
    first: () => new Promise((done) => { client.onConnect(done); }), none: async () => undefined };
  return ready[wait]().then(() => ({ addr: client.addr, pubkey: client.getPublicKey(), parts: parts(client).map((part) => part.addr) }));
}

const commands = {
  open,
  handle: async ({ name, reply }) => { replies.set(name, reply); return {}; },
  send: async ({ name, dest, options: { messageId, ...options } = {}, ...given }) => {
    if (messageId) options.messageId = new Uint8Array(Buffer.from(messageId, 'hex'));
    return told(await clients.get(name).send(dest, dataOf(given), options));
  },
  state: async ({ name }) => ({
    parts: parts(clients.get(name)).map((part) => ({ addr: part.addr, ready: part.isReady, node: part.node && part.node.addr, socket: part.ws && part.ws.readyState, failed: part.isClosed })),
  }),
  close: async ({ name }) => {
    const sockets = parts(clients.get(name)).map((part) => part.ws).filter(Boolean);
    await clients.get(name).close();
    clients.delete(name);
    // The SDK does not wait for its sockets; whoever tests absence must.
    while (sockets.some((socket) => socket.readyState !== 3)) await new Promise((done) => { setTimeout(done, 5); });
    return {};
  },
  closeAll: async () => {
    await Promise.all([...clients.keys()].map((name) => commands.close({ name })));
    return {};
  },
};

// The SDK talks to the console; stdout is ours alone.
console.log = console.warn = console.info = console.error;
process.on('unhandledRejection', (error) => out({ event: 'unhandledRejection', why: String(error) }));
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  Promise.resolve()
    .then(() => commands[command.do](command))
    .then((ok) => out({ n: command.n, ok }), (error) => out({ n: command.n, error: String((error && error.message) || error) }));
});
lines.on('close', () => process.exit(0));
out({ event: 'ready' });
