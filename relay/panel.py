"""The relay's page for machines: `/metrics` and `/health`, on loopback alone, if the owner wants it.

Answers from what the relay knows already; asks nobody. A page of a browser cannot read it under a foreign
name that leads here (Host must be this machine's). An asyncio shell; opened by `cli`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from relay.metrics import Metrics
from wire.errors import SettingsFault

HOST = "127.0.0.1"
_HEAD_MAX_B = 8192
_PATIENCE_S = 5.0
"""A client has this long to ask and to take the answer."""
_AT_ONCE = 16
_OWN_NAMES = {"127.0.0.1", "localhost", "[::1]", ""}
_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            503: "Service Unavailable"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    body: bytes
    kind: str = "text/plain; charset=utf-8"

    def head(self) -> bytes:
        """Status line and headers."""
        return (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(self.body)}\r\nCache-Control: no-store\r\n"
            "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        ).encode()


class Panel:
    """Answers for one relay.

    Args:
        metrics: its figures.
        look: its counters as they stand.
        version: of this program.
    """

    def __init__(self, metrics: Metrics, look: Callable[[], Mapping[str, Any]], version: str) -> None:
        self._metrics = metrics
        self._look = look
        self._version = version
        self._born = time.monotonic()
        self._room = _AT_ONCE

    async def open(self, port: int) -> asyncio.Server:
        """Listen.

        Raises:
            SettingsFault: the port cannot be had.
        """
        try:
            return await asyncio.start_server(self._serve, HOST, port, limit=_HEAD_MAX_B)
        except OSError as error:
            why = f"{HOST}:{port} cannot be listened on ({error.strerror}); take another number, or 0"
            raise SettingsFault("RELAY_METRICS_PORT", why) from error

    def health(self) -> Reply:
        """Whether peers can reach this relay: 200 or 503, and the facts."""
        seen = self._look()
        parts = seen.get("nkn", {}).get("parts", {}).values()
        up = sum(bool(part.get("ready")) for part in parts)
        facts = {
            "status": "connected" if up else "disconnected",
            "version": self._version,
            "uptime_s": round(time.monotonic() - self._born, 1),
            "nkn": {"up": up, "down": len(parts) - up},
            "running": seen.get("running", 0),
            "waiting": seen.get("waiting", 0),
        }
        return Reply(200 if up else 503, json.dumps(facts).encode() + b"\n", "application/json")

    def metrics(self) -> Reply:
        """All figures for Prometheus."""
        return Reply(200, self._metrics.text(), CONTENT_TYPE_LATEST)

    def answer(self, head: bytes) -> tuple[Reply, bool]:
        """What a request gets, and whether it wants the body."""
        line, *rest = head.decode("latin-1").split("\r\n")
        method, _, target = line.partition(" ")
        path, _, version = target.partition(" ")
        if not version.startswith("HTTP/1."):
            return Reply(400, b"this is no HTTP request\n"), True
        named = [text.partition(":")[2].strip() for text in rest if text.lower().startswith("host:")]
        if any(_name(host) not in _OWN_NAMES for host in named):
            return Reply(403, b"ask by the name 127.0.0.1 or localhost\n"), True
        if method not in {"GET", "HEAD"}:
            return Reply(405, b"only GET and HEAD\n"), True
        found = {"/metrics": self.metrics, "/health": self.health}.get(path.partition("?")[0])
        reply = found() if found else Reply(404, b"there are /metrics and /health\n")
        return reply, method == "GET"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._room <= 0:
            writer.transport.abort()
            return
        self._room -= 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reply, whole = self.answer(await reader.readuntil(b"\r\n\r\n"))
                writer.write(reply.head() + (reply.body if whole else b""))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            writer.transport.abort()  # whoever does not ask in time, or asks for too much
        finally:
            self._room += 1


def _name(host: str) -> str:
    """A Host without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
