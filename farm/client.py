"""HTTP on this machine or LAN, the same for the proxy and for the way to the engine."""

from __future__ import annotations

import ssl

import httpx

from farm import limits


def plain_client() -> httpx.AsyncClient:
    """A client without proxies, pooled connections or a time limit on answers.

    No pool: both servers close idle connections when they like, and a request on such a connection
    would fail at random; on loopback a new one costs 0.1 ms.
    """
    return httpx.AsyncClient(
        trust_env=False,  # HTTP_PROXY must not catch loopback
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # never used; spares loading all certificates
        timeout=httpx.Timeout(None, connect=limits.CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        follow_redirects=False,
    )
