"""The HTTP client of a run, and what its errors mean in words.

Knows nothing of models. Called by `target`, `exchange` and `run`.
"""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp

from farm.bench import limits


def open_session(key: str | None) -> aiohttp.ClientSession:
    """A session without bounds of its own: each caller says how long it waits.

    No proxy of the environment, no cookies, no redirects (callers say so): what is measured is what was
    named, and the key goes nowhere else.

    Args:
        key: a bearer key, or None.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "farm-bench"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=limits.REUSE_S),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=limits.READ_B,
    )


def why_not_reached(error: aiohttp.ClientConnectorError) -> str:
    """Why there is no connection, in the system's words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not accepted: {error.certificate_error}"
    cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        return f"no TLS: {getattr(cause, 'reason', None) or cause.strerror}"
    if isinstance(cause, socket.gaierror) or not cause.errno:
        return cause.strerror or str(cause)
    return os.strerror(cause.errno)


def why_cut(error: Exception) -> str:
    """How a connection that was there broke off."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before the answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection was closed within the answer"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)


async def read_up_to(reply: aiohttp.ClientResponse, size: int) -> bytes:
    """The body, or its first `size` bytes."""
    body = bytearray()
    while len(body) < size and (data := await reply.content.readany()):
        body += data
    return bytes(body[:size])
