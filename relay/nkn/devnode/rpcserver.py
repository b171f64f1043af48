"""The HTTP port of a node: reads one request, answers it, closes, as a real node does.

h11 reads HTTP/1.1 (it comes with uvicorn); a web framework would take longer to import than the rest of the
node to start. Shell: owns the sockets; the answers are `rpc`'s, failures on purpose are the faults'.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import h11

from relay.nkn.devnode import limits as own
from relay.nkn.devnode import rpc
from wire import limits

Responder = Callable[[str, bytes], Awaitable[rpc.Answer | None]]
"""HTTP method and body → the answer, or None to close without one."""


async def serve(host: str, port: int, responder: Responder) -> asyncio.Server:
    """Listen on a port; OSError if that cannot be."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _exchange(reader, writer, responder)
        except (OSError, h11.RemoteProtocolError, TimeoutError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return await asyncio.start_server(handle, host, port, start_serving=False)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, responder: Responder) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.READ_B)
    async with asyncio.timeout(own.RPC_READ_S):
        request = await _next(connection, reader, writer)
    if not isinstance(request, h11.Request):
        return
    try:
        async with asyncio.timeout(own.RPC_READ_S):
            body = await _body(connection, reader, writer)
    except TimeoutError:
        answer: rpc.Answer | None = rpc.Answer(200)
    else:
        answer = await responder(request.method.decode(), body)
    if answer is None:
        return
    headers = [*answer.headers, ("Content-Length", str(len(answer.body))), ("Connection", "close")]
    for event in (
        h11.Response(status_code=answer.status, headers=headers),
        h11.Data(data=answer.body),
        h11.EndOfMessage(),
    ):
        writer.write(connection.send(event) or b"")
    await writer.drain()


async def _body(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes:
    body = bytearray()
    while isinstance(part := await _next(connection, reader, writer), h11.Data):
        body += part.data
        if len(body) > own.RPC_MAX_B:
            raise h11.RemoteProtocolError("the body is too large")
    return bytes(body)


async def _next(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            writer.write(connection.send(go_on) or b"")
        connection.receive_data(await reader.read(limits.READ_B))
