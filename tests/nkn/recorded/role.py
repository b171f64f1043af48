"""Plays a recorded node's side of one role to our client: each frame in its time, byte for byte.

Where the file kept only a frame's words, the frame is made of them. What our client sends is noted; `sent`
and `deeds` tell it in the recording's words. Which roles there are stands in `roles`.
"""

import asyncio
import hashlib
import json
import sys
import time

from nkn.recorded import clock, fakenet, labels, recording

from relay.nkn import Client, MultiClient, address, envelope, payload, seal

END_S = 0.5
"""How long after its last event a role is still watched."""


class Role:
    """One role, on its own network.

    Attributes:
        client: ours.
        clients: its connections by the recording's name.
        messages: what its handler got.
        connects, failures: what `on_connect` and `on_connect_failed` told.
        acknowledged: (id, reply) of the sends that were answered.
    """

    def __init__(self, case, part):
        self.case, self.part = case, part
        self.events = [event for event in case.of(*part.conns) if not part.leaves_out(event)]
        self.messages, self.connects, self.failures = [], [], []
        self.clients, self.connections, self.acknowledged = {}, [], []
        self.origin = 0.0
        self._challenges = {}
        self._replies = dict(self._answered())
        self._sent = set()

    async def __aenter__(self):
        self.network = fakenet.Network(self.case.nodes)
        self.seed = fakenet.Seed(self.network.rpc)
        self.client = self._client()
        self.client.on_message(self._take)
        self.client.on_connect_failed(self.failures.append)
        self.client.on_connect(self.connects.append)
        self.client.start()
        self.origin = clock.now()
        return self

    async def __aexit__(self, *_):
        await self.client.close()
        for one in self.connections:
            await one.close()
        await self.seed.close()
        await self.network.close()

    def _client(self):
        me = recording.owner(self.part.addr)
        identifier = self.part.addr.rpartition(".")[0]
        options = {
            "seed": me.seed,
            "identifier": identifier,
            "rpc_server_addr": [self.seed.url],
            **self.part.options,
        }
        if not self.part.parts:
            return Client(**options)
        return MultiClient(num_sub_clients=self.part.parts, original_client=self.part.original, **options)

    def _answered(self):
        """(id of a message, what the recorded handler answered)."""
        for event in self.events if self.part.compared else ():
            if event.way == "c>n" and event.said is not None:
                for one in event.said.contents:
                    if one.reply_to:
                        yield one.reply_to, None if one.kind == "ACK" else one.data

    def _take(self, message):
        self.messages.append(message)
        return self._replies.get(message.message_id.hex(), False if self.part.compared else None)

    # -- the way through ------------------------------------------------------------------

    async def play(self):
        """Play the role to its end."""
        for event in self.events:
            await self.step(event)
        if self.part.returns:
            await self.registered("again", self.network.owner)
        await asyncio.sleep(END_S)

    async def step(self, event):
        """Play one event."""
        if event.op.startswith("http_"):
            return  # the upgrade has no other shape than ours
        if self.part.registers and event.conn not in self.clients:
            await self.registered(event.conn, self.network.owner)
        if event.op == "registered":
            await self.registered(event.conn, event.rest["node"], event.rest.get("block_hash", ""))
        elif event.way == "c>n":
            await self._did(event)
        elif event.way == "n>c" and _greets(event):
            await self.greet(event.conn, event.rest.get("Challenge") or event.rest["json"]["Challenge"])
        elif event.way == "n>c":
            await self.say(event)

    async def until(self, t):
        """Wait for a time of the case."""
        await asyncio.sleep(max(0.0, self.origin + t - clock.now()))

    async def come(self, conn, node=None):
        """Wait for our client to connect to the recorded node, which JSON-RPC names from now on."""
        if conn not in self.clients:
            named = (event.rest.get("node") for event in self.case.of(conn))
            node = node or next((name for name in named if name in self.network.ports), self._by_port(conn))
            self.network.owner = node
            if self.part.parts:
                await self._all_come(node)
            else:
                self.clients[conn] = await self._next(node)
            # It may come sooner or later than the recorded one; what follows keeps its distance.
            first = self.case.of(conn)
            self.origin = clock.now() - (first[0].t if first else 0)
        return self.clients[conn]

    async def _next(self, node):
        one = await fakenet.Client.upgraded(await self.network.ports[node].next())
        self.connections.append(one)
        return one

    async def _all_come(self, node):
        """The parts of a MultiClient come in any order; what they register tells which is which."""
        names = {addr: conn for conn, addr in self.case.conns.items() if conn in self.part.conns}
        for _ in names:
            one = await self._next(node)
            challenge = hashlib.sha256(b"part").hexdigest()
            await one.wire.send("text", recording.compact(labels.greeting(challenge)).encode())
            body = json.loads((await one.until(lambda got: got.op == "text")).data)
            self.clients[names[body["Addr"]]] = one
            self._challenges[names[body["Addr"]]] = challenge

    def _by_port(self, conn):
        for name in self.network.ports:
            if recording.NODES[name]["addr"].rpartition(":")[2] in conn:
                return name
        return next(iter(self.network.ports))

    async def greet(self, conn, challenge):
        """Send the challenge."""
        one = await self.come(conn)
        self._challenges[conn] = challenge
        await one.wire.send("text", recording.compact(labels.greeting(challenge)).encode())

    async def asks_in(self, conn):
        """Wait for setClient."""
        return await self.clients[conn].until(lambda got: got.op == "text")

    async def registered(self, conn, node, block_hash=""):
        """The whole handshake."""
        await self.come(conn, node)
        if conn not in self._challenges:
            await self.greet(conn, hashlib.sha256(conn.encode()).hexdigest())
        await self.asks_in(conn)
        await self.clients[conn].wire.send("text", fakenet.welcome(self.network, node, block_hash))

    async def say(self, event):
        """Send what the node sent."""
        one = await self.come(event.conn)
        if event.rest.get("json", {}).get("Action") == "setClient":
            await self.asks_in(event.conn)
        if not one.gone:
            await self.until(event.t)
        if one.gone:
            return  # it left; its close was answered
        if self.part.compared and event.op in {"close", "tcp_fin"} and self._left_first(event):
            return  # the node only answered
        if event.op == "ping":
            await one.ping()
        elif event.op == "tcp_fin":
            one.wire.finish()
        elif event.op == "tcp_rst":
            one.wire.reset()
        else:
            await one.wire.send(event.op, self.payload(event))

    def proven(self, conn, body):
        """Whether a setClient is signed for the challenge of its connection."""
        return recording.challenge_holds(body, self._challenges[conn])

    def _left_first(self, event):
        earlier = self.case.of(event.conn)
        return any(
            one.way == "c>n" and one.op in {"close", "tcp_fin"} for one in earlier[: earlier.index(event)]
        )

    def payload(self, event):
        """The bytes of a frame that the node sent."""
        if event.op == "pong":
            return bytes.fromhex(event.rest["payload_hex"])
        if event.op == "text":
            return self.network.here(event.text).encode()
        if event.op == "close":
            return labels.close_payload(event.rest)
        return recording.frame_of(event) or self._made(event)

    def _made(self, event):
        """A frame made of its words, as its sender sealed it and the node passed it on; or just as long."""
        said = event.said
        if said is None:
            return _sized(event.rest["len"])
        source, me = said.who[0], self.part.addr
        sealed = recording.sealed(said.contents[0], source, me, repr(said).encode())
        prev_hash = hashlib.sha256(repr(said).encode()).digest() if said.asks else b""
        return envelope.inbound(envelope.Inbound(source, sealed, prev_hash))

    async def _did(self, event):
        """The application's own doing: a message is sent, the client is closed."""
        if event.op == "close" and self.part.closes:
            await self.until(event.t)
            await self.client.close()
        if event.op in {"tcp_fin", "tcp_rst"} and not self.part.compared:
            await self.until(event.t)
            self.clients[event.conn].wire.reset()
        if event.op != "binary" or event.said is None:
            return
        content = event.said.contents[0] if event.said.contents else None
        if content is None or content.reply_to or (content.id in self._sent and self.part.parts):
            return
        self._sent.add(content.id)
        await self.until(event.t)
        self.send(content, event.said)

    def send(self, content, said):
        """Send a message as the recorded application did."""
        self.client.send_nowait(
            [address.split_prefix(dest)[1] if self.part.parts else dest for dest in said.who],
            content.data,
            message_id=bytes.fromhex(content.id),
            no_reply=content.id in self.part.silent,
            max_holding_seconds=said.hold,
            encrypt=content.sealed,
            on_ack=lambda reply: self.acknowledged.append((content.id, reply)),
        )


def _greets(event):
    return event.op == "authChallenge" or event.rest.get("json", {}).get("Action") == "authChallenge"


def _sized(frame_b):
    """An unsealed message from alice in so many bytes."""
    source, data_b, frame = recording.ADDRESSES["alice"], frame_b - 200, b""
    while len(frame) != frame_b:
        data_b += frame_b - len(frame) if frame else 0
        body = seal.plain(payload.message(bytes(data_b), frame_b.to_bytes(8, "big")).encode())
        frame = envelope.inbound(envelope.Inbound(source, body))
    return frame


def on_the_clock(monkeypatch):
    """Put every module of the client that reads `time` on the loop's clock."""
    for name, module in list(sys.modules.items()):
        client = name.startswith("relay.nkn.") and not name.startswith("relay.nkn.devnode")
        if client and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", clock.stand_in())
