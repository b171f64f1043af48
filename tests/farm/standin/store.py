"""Blobs and the making of models: /api/blobs, /api/create, /api/push, as far as a proxy sees them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import MutableMapping

from standin.gojson import read, written
from standin.models import Model, digest_of
from standin.voices import BARE_JSON, JSON
from standin.wire import Answer, Request

BLOBS = "/api/blobs/"


class Store:
    """Digests of blobs that were sent; `models` gets what is made."""

    def __init__(self, models: MutableMapping[str, Model]) -> None:
        self.blobs: set[str] = set()
        self._models = models

    async def blob(self, request: Request, answer: Answer) -> None:
        digest = request.path.removeprefix(BLOBS)
        told = f"sha256:{hashlib.sha256(request.body).hexdigest()}"
        if re.fullmatch("sha256[:-][0-9a-f]{64}", digest) is None:
            await _error(answer, 400, "invalid digest format")
        elif request.method == "HEAD":
            if digest in self.blobs:
                await answer.bare(200)
            else:
                path = f"/usr/share/ollama/.ollama/models/blobs/{digest.replace(':', '-')}"
                await _error(answer, 404, f"stat {path}: no such file")
        elif digest not in self.blobs and digest != told:
            await _error(answer, 400, f'digest mismatch, expected "{digest}", got "{told}"')
        else:
            self.blobs.add(digest)
            await answer.whole(201, [], b"")

    async def create(self, body: bytes, answer: Answer) -> None:
        asked = read(body, "api.CreateRequest", {"stream": bool})
        name, base, files = str(asked.get("model", "")), asked.get("from"), asked.get("files")
        if not base and not files:
            told = written({"error": "neither 'from' or 'files' was specified"}).encode()
            await answer.whole(400, [("Content-Type", BARE_JSON)], told, chunked=True)
            return
        self._models[name] = self._models.get(str(base), Model(gguf=str(files or base)))
        lines = [f"using existing layer sha256:{digest_of(str(base))}", "writing manifest", "success"]
        if asked.get("stream") is False:
            await answer.whole(200, [("Content-Type", BARE_JSON)], written({"status": "success"}).encode())
            return
        await answer.head(200, [("Content-Type", "application/x-ndjson")])
        for line in lines:
            await answer.chunk(written({"status": line}).encode() + b"\n")
        await answer.end()


async def _error(answer: Answer, status: int, text: str) -> None:
    await answer.whole(status, [("Content-Type", JSON)], written({"error": text}).encode())
