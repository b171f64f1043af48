"""A websocket from below, for either end: any frame may be sent, and whatever comes is noted as it came.

No library would send a reserved bit, a frame without a mask or half a frame, nor tell a FIN from an RST.
Knows RFC 6455's frames and nothing of NKN; used by the players of both ends.
"""

import asyncio
import base64
import contextlib
import hashlib
import socket
import struct
from collections import deque
from dataclasses import dataclass

from nkn.recorded import clock

OPCODES = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
NAMES = {number: name for name, number in OPCODES.items()}
MASK = b"\0\0\0\0"
"""The recorder's: a mask of zeros leaves the payload as it is."""
_READ_B = 1 << 18
PIECE_S = 0.1
"""The pause between pieces of a slow reader or writer."""


@dataclass(frozen=True, slots=True)
class Got:
    """A frame, a head of HTTP, or an end, as it came.

    Attributes:
        op: a frame's opcode in words, "http", "tcp_fin" or "tcp_rst".
        data: payload, or the bytes of an unfinished frame.
        at: the loop's clock.
    """

    op: str
    data: bytes = b""
    at: float = 0.0
    fin: bool = True
    rsv: int = 0
    masked: bool = False


def encode(opcode, payload=b"", *, fin=True, rsv=0, mask=None):
    """One frame; `mask` is four bytes of zero, or None for none."""
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask is not None else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack(">BH", bit | 126, len(payload))
    else:
        head += struct.pack(">BQ", bit | 127, len(payload))
    return head + (mask or b"") + payload


def decode(buffer):
    """(frame, bytes it took), or None while it is not whole."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    for code, form in ((126, ">H"), (127, ">Q")):
        if size == code:
            if len(buffer) < at + struct.calcsize(form):
                return None
            (size,) = struct.unpack_from(form, buffer, at)
            at += struct.calcsize(form)
            break
    masked = bool(buffer[1] & 0x80)
    key = bytes(buffer[at : at + 4]) if masked else b""
    at += len(key)
    if len(buffer) < at + size or (masked and len(key) < 4):
        return None
    data = bytes(buffer[at : at + size])
    if any(key):
        pattern = (key * (size // 4 + 1))[:size]
        data = (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")
    name = NAMES.get(buffer[0] & 0x0F, str(buffer[0] & 0x0F))
    frame = Got(name, data, clock.now(), bool(buffer[0] & 0x80), buffer[0] >> 4 & 7, masked)
    return frame, at + size


def accept_key(key):
    """What the server answers to a Sec-WebSocket-Key."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324
    return base64.b64encode(digest).decode()


class Wire:
    """One TCP connection, read all the time unless `reading` is cleared.

    Attributes:
        inbox: what came and was not taken yet.
        ended: the end that came, or None.
        upgraded: whether what comes are frames; before, it is HTTP.
        piece_b: how much is read ten times a second; 0 is all there is.
        pongs: whether pings are answered at once, and noted in `pinged_at` only.
    """

    def __init__(self, sock, *, upgraded=False, client=True):
        sock.setblocking(False)
        self.sock = sock
        self.inbox = deque()
        self.ended = None
        self.upgraded = upgraded
        self.reading = asyncio.Event()
        self.reading.set()
        self.mask = MASK if client else None
        self.piece_b = 0
        self.pongs = False
        self.pinged_at = []
        self._buffer = bytearray()
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def to(cls, port, **options):
        """Connect to a port of this machine."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock, **options)

    async def raw(self, data):
        """Write bytes."""
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send(self, op, payload=b"", *, mask=..., **how):
        """Write a frame; the end of the connection is not an error here."""
        opcode = op if isinstance(op, int) else OPCODES[op]
        try:
            await self.raw(encode(opcode, payload, mask=self.mask if mask is ... else mask, **how))
        except OSError:
            self._came.set()

    async def next(self, until):
        """The next that came, or None at the time `until`."""
        while not self.inbox:
            self._came.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._came.wait()
            except TimeoutError:
                return None
        return self.inbox.popleft()

    def finish(self):
        """Send a FIN; what comes is still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Send an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._task.cancel()
        self.sock.close()

    async def close(self):
        """Let go of it, in whatever state it is."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.sock.close()

    async def _read(self):
        loop = asyncio.get_running_loop()
        while True:
            await self.reading.wait()
            if self.piece_b:
                await asyncio.sleep(PIECE_S)
            try:
                data = await loop.sock_recv(self.sock, self.piece_b or _READ_B)
            except ConnectionResetError:
                return self._end("tcp_rst")
            if not data:
                return self._end("tcp_fin")
            self._buffer += data
            self._split()

    def _end(self, how):
        self.ended = Got(how, bytes(self._buffer), clock.now())
        self._note(self.ended)

    def _note(self, got):
        self.inbox.append(got)
        self._came.set()

    def _split(self):
        if not self.upgraded:
            head, mark, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not mark:
                return
            self._note(Got("http", head + mark, clock.now()))
            self._buffer[:] = rest
            self.upgraded = True
        while (found := decode(self._buffer)) is not None:
            frame, size = found
            del self._buffer[:size]
            if frame.op == "ping" and self.pongs:
                self.pinged_at.append(frame.at)
                # Nobody waits for room here: a pong is a few bytes, and a full buffer is a lost connection.
                with contextlib.suppress(OSError):
                    self.sock.send(encode(OPCODES["pong"], frame.data, mask=self.mask))
            else:
                self._note(frame)
