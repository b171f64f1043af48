"""An upstream without a model: NDJSON lines at a fixed rate, each with the moment it was written.

`POST /api/generate {"rate": lines/s, "lines": n}`; rate 0 is without pause. Prints its port. Monotonic clocks
agree between the processes of one Linux machine, so a reader can tell how late a line is.
"""

from __future__ import annotations

import asyncio
import json
import time

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
DRAIN_LINES = 64
"""Without pause: lines written before the socket is waited for."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one stream."""
    try:
        await _answer(await _asked(reader), writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        return  # a client that left; nobody is to be told
    finally:
        writer.close()


async def _asked(reader: asyncio.StreamReader) -> dict[str, int]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(
        (int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length")), 0
    )
    asked: dict[str, int] = json.loads(await reader.readexactly(length) or b"{}")
    return asked


async def _answer(asked: dict[str, int], writer: asyncio.StreamWriter) -> None:
    rate, count = asked.get("rate", 30), asked.get("lines", 60)
    writer.write(HEAD)
    began = time.monotonic()
    for index in range(count):
        if rate:
            await asyncio.sleep(max(0.0, began + index / rate - time.monotonic()))
        writer.write(_chunk(index, done=index + 1 == count))
        if index % DRAIN_LINES == DRAIN_LINES - 1:
            await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _chunk(index: int, *, done: bool) -> bytes:
    fields = {"at": time.monotonic(), "response": f"word{index} ", "done": done}
    line = json.dumps(fields).encode() + b"\n"
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
