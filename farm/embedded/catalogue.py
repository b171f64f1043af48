"""The routes about models: what there is, what is loaded, and that the one model cannot be changed.

Called by `app`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import mmap
import re
import time
from pathlib import Path
from typing import Any

from farm import limits
from farm.api import gojson, words
from farm.api.words import UNSUPPORTED, RefusalError, unknown_model
from farm.asgi import Exchange
from farm.embedded import card, fields, gguf, stamps, structs
from farm.embedded.gguf import GgufHeader
from farm.embedded.pieces import EngineError
from farm.embedded.runner import Runner
from farm.model import SMOLLM2

_NDJSON = b"application/x-ndjson"
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


class Catalogue:
    """Answers for a shelf of one model.

    Args:
        runner: whose engine may hold it.
        modified_ns: when its file came, Unix nanoseconds.
    """

    def __init__(self, runner: Runner, modified_ns: int) -> None:
        self._runner = runner
        self._modified_ns = modified_ns
        self._read: GgufHeader | None = None

    async def alive(self, exchange: Exchange) -> None:
        """GET and HEAD /."""
        await exchange.whole(200, "text/plain; charset=utf-8", b"Ollama is running")

    async def version(self, exchange: Exchange) -> None:
        """GET and HEAD /api/version."""
        await _tell(exchange, {"version": card.VERSION})

    async def status(self, exchange: Exchange) -> None:
        """GET /api/status: nothing ever goes to the vendor."""
        await _tell(exchange, {"cloud": {"disabled": True, "source": "env"}})

    async def account(self, exchange: Exchange) -> None:
        """POST /api/me: there is none."""
        await exchange.body(limits.BODY_MAX_B)
        raise RefusalError(503, "account unavailable")

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
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.SHOW)
        name = given.get("model") or given.get("name") or ""
        required = RefusalError(400, "model is required")
        card.require(name, empty=required, cloud="remote model details are unavailable")
        told = card.show(
            stamps.stamp(self._modified_ns),
            self._runner.plan.slot_tokens,
            await self._header(),
            verbose=given.get("verbose", False),
        )
        await _tell(exchange, told)

    async def pull(self, exchange: Exchange) -> None:
        """POST /api/pull: the shipped model is there already, any other cannot come."""
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.PULL)
        name = given.get("model") or given.get("name") or ""
        lines: list[dict[str, Any]] = [{"status": "pulling manifest"}]
        if card.known(card.check(name, empty=RefusalError(400, "invalid model name"))):
            layer = {"status": f"pulling {SMOLLM2.sha256[:12]}", "digest": f"sha256:{SMOLLM2.sha256}"}
            lines.append(layer | {"total": SMOLLM2.size_b, "completed": SMOLLM2.size_b})
            steps = ("verifying sha256 digest", "writing manifest", "success")
            lines += [{"status": step} for step in steps]
        else:
            why = f"pulling '{name}' {UNSUPPORTED}, it has only {card.NAME}"
            lines.append({"error": f"pull model manifest: {why}"})
        if not given.get("stream", True):
            status = 500 if "error" in lines[-1] else 200
            return await exchange.whole(status, words.JSON_BARE, gojson.encode(lines[-1]))
        await exchange.begin(200, [(b"content-type", _NDJSON)])
        for line in lines:
            await exchange.piece(gojson.encode(line) + b"\n")
        return await exchange.end()

    async def copy(self, exchange: Exchange) -> None:
        """POST /api/copy."""
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.COPY)
        for part in ("source", "destination"):
            if not card.is_name(given.get(part, "")):
                raise RefusalError(400, f"{part} {gojson.quoted(given.get(part, ''))} is invalid")
        if not card.known(given["source"]):
            raise RefusalError(404, f"model {gojson.quoted(given['source'])} not found")
        raise _fixed("copy")

    async def delete(self, exchange: Exchange) -> None:
        """DELETE /api/delete."""
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.DELETE)
        name = given.get("model") or given.get("name") or ""
        if not card.is_name(name.strip()):
            raise RefusalError(400, f"name {gojson.quoted(name)} is invalid")
        if not card.known(name):
            raise unknown_model(name)
        raise _fixed("delete")

    async def create(self, exchange: Exchange) -> None:
        """POST /api/create."""
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.CREATE)
        digests = [*given.get("files", {}).values(), *given.get("adapters", {}).values()]
        if not all(digests):
            raise RefusalError(400, "invalid digest format")
        if not card.is_name(given.get("model") or given.get("name") or ""):
            raise RefusalError(400, "invalid model name")
        if not given.get("from") and not given.get("files"):
            return await _neither(exchange, streamed=given.get("stream", True))
        raise _fixed("create")

    async def push(self, exchange: Exchange) -> None:
        """POST /api/push."""
        given = fields.struct(await exchange.body(limits.BODY_MAX_B), structs.PUSH)
        if not given.get("model") and not given.get("name"):
            raise RefusalError(400, "model is required")
        raise _fixed("push")

    async def blob(self, exchange: Exchange) -> None:
        """HEAD /api/blobs/DIGEST."""
        if not self._there(exchange):
            raise RefusalError(404, f"blob {gojson.quoted(_digest(exchange))} not found")
        await _done(exchange)

    async def keep_blob(self, exchange: Exchange) -> None:
        """POST /api/blobs/DIGEST: the model's own is there; nothing else is kept."""
        if not self._there(exchange):
            body = await exchange.body(limits.BODY_MAX_B)
            found = f"sha256:{hashlib.sha256(body).hexdigest()}"
            if found != _digest(exchange):
                expected = gojson.quoted(_digest(exchange))
                raise RefusalError(400, f"digest mismatch, expected {expected}, got {gojson.quoted(found)}")
            raise _fixed("a blob")
        await _done(exchange)

    def _there(self, exchange: Exchange) -> bool:
        digest = _digest(exchange)
        if _DIGEST.fullmatch(digest) is None:
            raise RefusalError(400, "invalid digest format")
        return digest[7:].lower() == SMOLLM2.sha256

    async def openai_models(self, exchange: Exchange) -> None:
        """GET /v1/models."""
        body = gojson.encode({"object": "list", "data": [self._openai_entry()]})
        await exchange.whole(200, words.JSON_BARE, body + b"\n")

    async def openai_model(self, exchange: Exchange) -> None:
        """GET /v1/models/NAME."""
        name = exchange.path.removeprefix("/v1/models/")
        card.require(name, empty=unknown_model(name), cloud="remote model details are unavailable")
        await exchange.whole(200, words.JSON_BARE, gojson.encode(self._openai_entry() | {"id": name}) + b"\n")

    async def _header(self) -> GgufHeader:
        """What stands in front of the model's file, read once."""
        if self._read is None:
            self._read = await asyncio.to_thread(_read_header, self._runner.plan.model)
        return self._read

    def _openai_entry(self) -> dict[str, Any]:
        return card.openai_model(self._modified_ns // 1_000_000_000)


async def _tell(exchange: Exchange, told: dict[str, Any]) -> None:
    await exchange.body(limits.BODY_MAX_B)
    await exchange.whole(200, words.JSON_UTF8, gojson.encode(told))


async def _done(exchange: Exchange) -> None:
    """Done, and nothing to say."""
    await exchange.begin(200, [(b"content-length", b"0")])
    await exchange.end()


async def _neither(exchange: Exchange, *, streamed: bool) -> None:
    """The one fault of a creation that is found when its stream has been promised."""
    body = words.native_error("neither 'from' or 'files' was specified")
    if not streamed:
        return await exchange.whole(400, words.JSON_BARE, body)
    await exchange.begin(400, [(b"content-type", words.JSON_BARE.encode())])
    return await exchange.end(body)


def _digest(exchange: Exchange) -> str:
    return exchange.path.removeprefix("/api/blobs/")


def _fixed(what: str) -> RefusalError:
    return RefusalError(501, f"{what} {UNSUPPORTED}, its one model is fixed")


def _read_header(path: str) -> GgufHeader:
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return gguf.read_header(data)


def _memory(pid: int) -> int:
    """Bytes of memory a process holds; the file's size where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return SMOLLM2.size_b
    return pages * 4096
