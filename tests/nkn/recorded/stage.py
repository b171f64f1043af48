"""Plays the client's side of a recorded case to development nodes, at the recorded times.

What the nodes send is compared with what came. What the recording left out is filled in: a shortened
handshake, the sender of a message of which only the arrival is shown, pongs. What only single cases need
stands in `directions`.
"""

import asyncio
import contextlib
import re
from collections import deque

from nkn.recorded import alike, clock, labels, recording, rpcplay
from nkn.recorded.hand import PATIENCE_S, Hand
from nkn.recorded.likeness import NOTHING, Likeness, Literally

from relay.nkn import address
from relay.nkn.devnode import DevNode, Ring

OFF_S = 0.3
"""How much sooner or later than recorded a frame may come: nodes look at their clocks ten times a second."""


class Stage:
    """The nodes of one case, and the connections to them.

    Args:
        case: the transcript.
        times: the nodes' clocks.
        strict: whether the nodes verify what real ones do not.
        happenings: what to do at events of the recorder itself.

    Attributes:
        hands: the recorder's connections by name; those beside the recording begin with "beside".
        nodes: the development nodes by the name of the recorded node they play.
    """

    def __init__(self, case, times, happenings, *, strict=False):
        self.case = case
        self.names = list(case.nodes)
        self.like = Likeness()
        self.hands = {}
        self.nodes = {}
        self.began = 0.0
        self._times = times
        self._strict = strict
        self._happenings = happenings
        self._answers = {}
        self._supplied = set()

    async def __aenter__(self):
        self.began = clock.now()
        ring = Ring(recording.chance(self.case.name).randbytes) if len(self.names) > 1 else None
        for name in self.names:
            told = recording.NODES[name]
            seed, place = int(told["pubkey"][:8], 16), bytes.fromhex(told["id"])
            node = self.nodes[name] = DevNode(
                strict=self._strict, seed=seed, ring=ring, node_id=place, times=self._times
            )
            await node.start()
            self.like.bind(told["addr"], node.place.ws)
            self.like.bind(told["rpcAddr"], node.place.rpc)
        return self

    async def __aexit__(self, *_):
        for hand in self.hands.values():
            await hand.close()
        for node in self.nodes.values():
            await node.stop()

    def node_named(self, text):
        """The name of the node that "node", "node:30027", "rpc:30048" or "alice@30002" speaks of."""
        found = re.search(r"\d{5}", text)
        for name in self.names if found else ():
            if found[0] in recording.NODES[name]["addr"] + recording.NODES[name]["rpcAddr"]:
                return name
        return self.names[0]

    # -- the way through ------------------------------------------------------------------

    async def play(self):
        """Play every event in its time; then see that nothing else came."""
        for name in {event.conn: event for event in self.case.events if self._waits(event)}:
            await self.hand(name)
        await self.follow(self.case.events)
        await self.finish()

    async def follow(self, events):
        """Play some events."""
        for event in events:
            await self.step(self.case.events.index(event), event)

    async def finish(self):
        """Wait for the end of the case; whatever came and was not in the recording is a difference."""
        last = self.case.events[-1] if self.case.events else None
        if not (last and last.said and last.said.kind == "OUTBOUND"):
            await self.until((last.t if last else 0) + PATIENCE_S / 2)
        # What a last message brings about is not shown; nobody waits for it.
        for name, hand in self.hands.items():
            for got in hand.wire.inbox:
                beside = name.startswith("beside") and got.op in {"binary", "text"}
                if not beside and not (hand.left and got.op == "tcp_fin"):
                    self.like.differ(name, NOTHING, Literally(labels.of_got(got)))

    async def step(self, number, event):
        """Play one event."""
        if event.way == "app":
            await self._happenings[event.op](self, event)
        elif event.op == "registered":
            await self._registered(event)
        elif event.op == "http_request":
            await self._ask(number, event)
        elif event.op == "http_response" and event.conn.startswith("rpc"):
            self._answered(event)
        elif event.way == "c>n":
            await self._act(event)
        elif event.way == "n>c":
            await self._supply(number, event)
            await self.expect(event)

    def _waits(self, event):
        """Whether the first that is shown of a connection is what came to it long after it was made."""
        first = self.case.of(event.conn)[0] is event
        return first and event.way == "n>c" and event.t > 0.1 and not greets(event)

    async def until(self, t):
        """Wait for a time of the case."""
        await asyncio.sleep(max(0.0, self.began + t - clock.now()))

    # -- connections ----------------------------------------------------------------------

    async def hand(self, name, *, greeted=True):
        """A connection of the case, made if need be; `greeted` goes on to the challenge."""
        if name not in self.hands:
            node = self._node_of(name)
            hand = await Hand.to(self.nodes[node], recording.NODES[node], self.like)
            self.hands[name] = hand
            hand.wire.pongs = not any(event.op in {"ping", "pong"} for event in self.case.of(name))
        hand = self.hands[name]
        if not hand.wire.upgraded and not self._shows(name, "http_upgrade"):
            await hand.upgrade()
            if greeted:
                await hand.greeted()
        return hand

    async def resident(self, addr):
        """A registered connection of an address, one beside the recording if it shows none."""
        for hand in self.hands.values():
            if hand.address == addr and not hand.left and hand.wire.ended is None:
                return hand
        hand = await self.hand(f"beside {addr}")
        await hand.register(addr)
        return hand

    def _node_of(self, conn):
        if conn.startswith("beside "):
            return self.home(conn.partition(" ")[2])
        shown = (event.rest.get("node") for event in self.case.of(conn))
        return next((name for name in shown if name in self.names), None) or self.node_named(conn)

    def home(self, addr):
        """The name of the node that owns an address."""
        owner = next(iter(self.nodes.values())).ring.owner(address.client_id(addr)).place.id
        return next(name for name, node in self.nodes.items() if node.place.id == owner)

    def _shows(self, conn, op):
        return any(event.op == op for event in self.case.of(conn))

    # -- the client's side ----------------------------------------------------------------

    async def _act(self, event):
        await self.until(event.t)
        hand = await self.hand(event.conn)
        if event.op == "http_upgrade":
            await hand.wire.raw(event.rest["raw"].encode())
        elif event.op == "tcp_fin":
            hand.left = True
            with contextlib.suppress(OSError):  # the node may have gone first
                hand.wire.finish()
        elif event.op == "tcp_rst":
            hand.left = True
            hand.wire.reset()
        else:
            await hand.frame(event)

    async def _registered(self, event):
        """The whole handshake, which the recording tells in one line; the answer is compared."""
        await self.until(event.t)
        hand = await self.hand(event.conn)
        got = await hand.register(event.rest["addr"])
        body = {"json": labels.accepted(event.rest)}
        self.compare(recording.Event(event.t, event.conn, "n>c", "text", body), got)

    async def _supply(self, number, event):
        """Send the message that comes next, if the recording does not show who sent it."""
        if event.op != "binary" or event.said is None:
            return
        content = event.said.contents[0]
        sent = (
            (one.id, one.reply_to, one.data)
            for earlier in self.case.events[:number]
            if earlier.way == "c>n" and earlier.op == "binary" and earlier.said is not None
            for one in earlier.said.contents
        )
        key = (content.id, content.reply_to, content.data)
        if key not in self._supplied and key not in sent:
            await self.until(event.t)
            await self.supply(event.said.who[0], self.hands[event.conn].address, content)

    async def supply(self, source, dest, content, hold=0):
        """Send a message that the recording does not show."""
        self._supplied.add((content.id, content.reply_to, content.data))
        await (await self.resident(source)).say(dest, content, hold)

    async def _ask(self, number, event):
        """A question to JSON-RPC; its answer is compared when its event comes."""
        await self.until(event.t)
        method = event.rest.get("method")
        raw = event.rest.get("raw", "")
        if method:
            later = (self.case.conns.get(one.conn) for one in self.case.events[number:])
            params = {"address": next(filter(None, later))} if method == "getwsaddr" else {}
            raw = rpcplay.standard(method, params)
        answer = await self.rpc(self.node_named(event.conn), raw.encode())
        self._answers.setdefault(event.conn, deque()).append(answer)

    async def rpc(self, node, request):
        """The body of an answer of a node's JSON-RPC."""
        port = int(self.nodes[node].rpc_url.rpartition(":")[2])
        answer, _, _ = await rpcplay.ask(port, request, rpcplay.PATIENCE_S)
        return answer.decode().partition("\r\n\r\n")[2]

    def _answered(self, event):
        body = self._answers[event.conn].popleft()
        if "body" in event.rest:
            return self.like.texts(f"{event.conn} answer", event.rest["body"], body)
        result = rpcplay.result_of(body)
        ours = result.get("addr") if isinstance(result, dict) else result
        return self.like.values(f"{event.conn} answer", event.rest["result_addr"], ours)

    # -- the node's side ------------------------------------------------------------------

    async def expect(self, event):
        """Compare what comes with what came."""
        hand = await self.hand(event.conn, greeted=not greets(event))
        if greets(event):
            told = event.rest.get("Challenge") or event.rest["json"]["Challenge"]
            shown = recording.Event(event.t, event.conn, "n>c", "text", {"json": labels.greeting(told)})
            return self.compare(shown, await hand.greeted(told))
        got = await hand.wire.next(self.began + event.t + OFF_S)
        if got is None:
            return self.like.differ(event.conn, Literally(labels.of_event(event)), NOTHING)
        at = got.at - self.began
        if at < event.t - OFF_S:
            where = f"{event.conn} {labels.of_event(event)}"
            self.like.differ(where, Literally(f"at {event.t:.1f} s"), Literally(f"at {at:.1f} s"))
        return self.compare(event, got)

    def compare(self, event, got):
        """Compare a frame of the recording with ours."""
        alike.compare(self.like, event, got, self.hands[event.conn])


def greets(event):
    """Whether it is the challenge, in full or shortened."""
    return event.op == "authChallenge" or event.rest.get("json", {}).get("Action") == "authChallenge"
