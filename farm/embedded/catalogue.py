"""The routes about models: what there is, what is loaded, and that the one model cannot be changed.

Called by `app`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from farm import limits
from farm.asgi import Exchange
from farm.embedded import card, fields, gojson, stamps, words
from farm.embedded.pieces import EngineError
from farm.embedded.runner import Runner
from farm.embedded.words import UNSUPPORTED, RefusalError, unknown_model
from farm.model import SMOLLM2

_NAMED: fields.Spec = {
    "model": fields.STRING,
    "name": fields.STRING,
    "source": fields.STRING,
    "stream": fields.BOOL,
}
_NDJSON = b"application/x-ndjson"


class Catalogue:
    """Answers for a shelf of one model.

    Args:
        runner: whose engine may hold it.
        modified_ns: when its file came, Unix nanoseconds.
    """

    def __init__(self, runner: Runner, modified_ns: int) -> None:
        self._runner = runner
        self._modified_ns = modified_ns

    async def alive(self, exchange: Exchange) -> None:
        """GET and HEAD /."""
        await exchange.whole(200, "text/plain; charset=utf-8", b"Ollama is running")

    async def version(self, exchange: Exchange) -> None:
        """GET and HEAD /api/version."""
        await _tell(exchange, {"version": card.VERSION})

    async def tags(self, exchange: Exchange) -> None:
        """GET and HEAD /api/tags."""
        await _tell(exchange, card.tags(stamps.stamp(self._modified_ns)))

    async def loaded(self, exchange: Exchange) -> None:
        """GET /api/ps."""
        engine = self._runner.engine
        if engine is None:
            return await _tell(exchange, {"models": []})
        until = self._runner.expires_at
        until_ns = time.time_ns() + stamps.FAR_NS if math.isinf(until) else int(until * 1e9)
        entry = card.loaded(
            card.NAME,
            size_b=_memory(engine.child.pid),
            expires_at=stamps.stamp(until_ns),
            slot_tokens=self._runner.plan.slot_tokens,
        )
        return await _tell(exchange, {"models": [entry]})

    async def engine(self, exchange: Exchange) -> None:
        """GET /_engine, ours alone: slots and how many of them are at work."""
        engine = self._runner.engine
        busy = 0
        if engine is not None:
            try:
                busy = await engine.channel.busy()
            except EngineError as error:
                raise RefusalError(503, "the engine does not answer") from error
        told = {"loaded": engine is not None, "slots": self._runner.plan.slots, "busy": busy}
        await _tell(exchange, told)

    async def show(self, exchange: Exchange) -> None:
        """POST /api/show."""
        name, _ = await _named(exchange, "api.ShowRequest")
        if not name:
            raise RefusalError(400, "model is required")
        if not card.is_name(name):
            raise RefusalError(400, "invalid model name")
        card.require(name, unknown_model(name))
        told = card.show(stamps.stamp(self._modified_ns), self._runner.plan.slot_tokens)
        await _tell(exchange, told)

    async def pull(self, exchange: Exchange) -> None:
        """POST /api/pull: the shipped model is there already, any other cannot come."""
        name, given = await _named(exchange, "api.PullRequest")
        if not card.is_name(name):
            raise RefusalError(400, "invalid model name")
        digest = f"sha256:{SMOLLM2.sha256}"
        layer = {"status": f"pulling {SMOLLM2.sha256[:12]}", "digest": digest, "total": SMOLLM2.size_b}
        lines: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if card.known(name):
            lines += [layer | {"completed": SMOLLM2.size_b}, {"status": "verifying sha256 digest"}]
            lines += [{"status": "writing manifest"}, {"status": "success"}]
        else:
            lines += [
                {"error": f"pull model manifest: pulling '{name}' {UNSUPPORTED}, it has only {card.NAME}"}
            ]
        if not given.get("stream", True):
            status = 500 if "error" in lines[-1] else 200
            return await exchange.whole(status, words.JSON_BARE, gojson.encode(lines[-1]))
        await exchange.begin(200, [(b"content-type", _NDJSON)])
        for line in lines:
            await exchange.piece(gojson.encode(line) + b"\n")
        return await exchange.end()

    async def unchangeable(self, exchange: Exchange) -> None:
        """Create, copy, push, delete and blobs: 404 for a model that is not there, else 501."""
        what = exchange.path.split("/")[2]
        if what in {"copy", "delete"}:
            name, _ = await _named(exchange, f"api.{what.title()}Request")
            quoted = f'model "{name}" not found' if what == "copy" else f"model '{name}' not found"
            card.require(name, RefusalError(404, quoted))
        raise RefusalError(501, f"{what} {UNSUPPORTED}, its one model is fixed")

    async def blob(self, exchange: Exchange) -> None:
        """HEAD /api/blobs/DIGEST."""
        there = exchange.path.endswith(f"/sha256:{SMOLLM2.sha256}")
        await exchange.whole(200 if there else 404, words.JSON_UTF8, b"")

    async def openai_models(self, exchange: Exchange) -> None:
        """GET /v1/models."""
        body = gojson.encode({"object": "list", "data": [self._openai_entry()]})
        await exchange.whole(200, words.JSON_BARE, body + b"\n")

    async def openai_model(self, exchange: Exchange) -> None:
        """GET /v1/models/NAME."""
        name = exchange.path.removeprefix("/v1/models/")
        card.require(name, unknown_model(name))
        await exchange.whole(200, words.JSON_BARE, gojson.encode(self._openai_entry() | {"id": name}) + b"\n")

    def _openai_entry(self) -> dict[str, Any]:
        return card.openai_model(self._modified_ns // 1_000_000_000)


async def _tell(exchange: Exchange, told: dict[str, Any]) -> None:
    await exchange.body(limits.BODY_MAX_B)
    await exchange.whole(200, words.JSON_UTF8, gojson.encode(told))


async def _named(exchange: Exchange, struct: str) -> tuple[str, dict[str, Any]]:
    """The model a body names, in the new field, the old one or as a copy's source."""
    given = fields.struct(await exchange.body(limits.BODY_MAX_B), struct, _NAMED)
    return given.get("model") or given.get("name") or given.get("source") or "", given


def _memory(pid: int) -> int:
    """Bytes of memory a process holds; the file's size where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return SMOLLM2.size_b
    return pages * 4096
