"""Raw clients for the tests of the development node: a websocket that does what it is told, HTTP by hand."""

import asyncio
import json
import os

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from relay.nkn import envelope, seal, sigchain
from relay.nkn.identity import Identity

PATIENCE_S = 10


class Raw:
    """A client that does only what a test tells it."""

    def __init__(self, url, name="alice", **options):
        self.identity = Identity(name.encode().ljust(32))
        self.addr = f"{name}.{self.identity.public_key.hex()}"
        self._connecting = connect(url, compression=None, ping_interval=None, max_size=None, **options)

    async def __aenter__(self):
        self.socket = await self._connecting.__aenter__()
        return self

    async def __aexit__(self, *raised):
        if not self.socket.transport.is_closing():
            self.socket.transport.abort()
        await self.socket.wait_closed()

    async def recv(self):
        async with asyncio.timeout(PATIENCE_S):
            return await self.socket.recv()

    async def control(self, action):
        """The next text frame of an action."""
        while True:
            frame = await self.recv()
            if isinstance(frame, str) and (told := json.loads(frame))["Action"] == action:
                return told

    async def register(self):
        challenge = bytes.fromhex((await self.control("authChallenge"))["Challenge"])
        salt = os.urandom(32)
        signature = self.identity.sign(sigchain.challenge_digest(challenge, salt)).hex()
        body = {"Action": "setClient", "Addr": self.addr, "ClientSalt": salt.hex(), "Signature": signature}
        await self.socket.send(json.dumps(body))
        told = await self.control("setClient")
        assert told["Error"] == 0
        self.key = bytes.fromhex(told["Result"]["node"]["pubkey"])
        self.block_hash = bytes.fromhex(told["Result"]["sigChainBlockHash"])
        return self

    def frame(self, other, text="hi", nonce=1, hold=0):
        head = sigchain.Head(nonce, self.block_hash, self.addr, self.key)
        return envelope.outbound(self.identity, head, [other.addr], [seal.plain(text.encode())], hold)

    async def send(self, other, text="hi", hold=0):
        await self.socket.send(self.frame(other, text, hold=hold))

    async def message(self):
        while not isinstance(frame := await self.recv(), bytes):
            pass
        return seal.parse(envelope.read(frame).payload).payload.decode()

    async def gone(self):
        """Wait until the node ended the connection; the close code, 1006 if it said nothing."""
        try:
            while True:
                await self.recv()
        except ConnectionClosed:
            return self.socket.close_code


async def until(so):
    async with asyncio.timeout(PATIENCE_S):
        while not so():
            await asyncio.sleep(0.005)


async def http(node, request):
    reader, writer = await asyncio.open_connection(*node.rpc_url.removeprefix("http://").split(":"))
    writer.write(request)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    return answer


async def rpc(node, method="getlatestblockheight", **params):
    body = json.dumps({"id": "x", "method": method, "params": params}).encode()
    return await http(
        node, b"POST /any HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def told(answer):
    """The JSON of an HTTP answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def quiet(client, seconds=0.05):
    """Whether nothing arrives for a while."""
    try:
        async with asyncio.timeout(seconds):
            await client.socket.recv()
    except TimeoutError:
        return True
    return False


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Tcp:
    """A connection to the websocket port of which nothing is hidden."""

    def __init__(self, node):
        self._at = node.place.ws.split(":")

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(*self._at)
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    async def ask(self, head=UPGRADE):
        """Send a head; the head of the answer, and its body if it has one."""
        self.writer.write(head)
        async with asyncio.timeout(PATIENCE_S):
            answer = await self.reader.readuntil(b"\r\n\r\n")
            length = answer.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            return answer + await self.reader.readexactly(int(length or 0))

    async def frame(self):
        """The next frame of the node: its first byte and its payload."""
        async with asyncio.timeout(PATIENCE_S):
            first, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def end(self):
        """Wait for the end of the stream: "fin" or "rst"."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionResetError:
                return "rst"
            return "fin"


def masked(opcode, data=b"", *, fin=True, reserved=0):
    """A client's frame, masked with zeros."""
    size = len(data)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8)
    return bytes([0x80 * fin | reserved | opcode]) + length + bytes(4) + data
