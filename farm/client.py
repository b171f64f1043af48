"""HTTP on this machine or LAN: a session for the way to the backends, a client for the way to the engine."""

from __future__ import annotations

import ssl

import aiohttp
import httpx

from farm import limits

BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)
"""What a backend that breaks off raises, before or in the middle of its answer."""


def session() -> aiohttp.ClientSession:
    """The way to the backends: bytes as they are, no proxies, no redirects, no time limit on answers.

    No pool: a backend closes idle connections when it likes, and a request on such a connection
    would fail at random; on loopback a new one costs 0.1 ms. Made on a running loop, closed by the caller.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False, ssl=False),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.CONNECT_S),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        trust_env=False,  # HTTP_PROXY must not catch loopback
        max_line_size=limits.HEAD_MAX_B,
        max_field_size=limits.HEAD_MAX_B,
    )


def plain_client() -> httpx.AsyncClient:
    """A client without proxies, pooled connections or a time limit on answers; for the engine."""
    return httpx.AsyncClient(
        trust_env=False,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used; spares loading all certificates
        timeout=httpx.Timeout(None, connect=limits.CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        follow_redirects=False,
    )
