"""A request too large for one message, as the messages that carry it: the peer's half of `uploads`.

Pure; used by `peer`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from wire import jsontext, limits


class Parcel:
    """One request in pieces.

    Args:
        identifier: of the request.
        req: without its body.
        body: JSON.
    """

    def __init__(self, identifier: str, req: dict[str, Any], body: bytes) -> None:
        size = limits.UPLOAD_CHUNK_B
        self._chunks = [body[at : at + size] for at in range(0, len(body), size)]
        self._of = {"id": identifier, "upload_id": identifier, "total_chunks": len(self._chunks)}
        self._req = req

    @classmethod
    def of(cls, identifier: str, req: dict[str, Any]) -> Parcel | None:
        """The parcel that a request needs, or None: one message is enough."""
        if req.get("json") is None:
            return None
        body = jsontext.body(req["json"])
        if len(body) <= limits.UPLOAD_OVER_B:
            return None
        return cls(identifier, {name: value for name, value in req.items() if name != "json"}, body)

    def all(self) -> Iterator[dict[str, Any]]:
        """Every message, in order."""
        return self.again(range(len(self._chunks) + 1))

    def again(self, missing: Iterable[object]) -> Iterator[dict[str, Any]]:
        """The messages of some chunks, 0 being the beginning, and that all was sent."""
        for seq in missing:
            if seq == 0:
                yield self.begin()
            elif isinstance(seq, int) and 0 < seq <= len(self._chunks):
                data = base64.b64encode(self._chunks[seq - 1]).decode()
                yield {"event": "http.upload.chunk", **self._of, "seq": seq, "b64": data}
        yield {"event": "http.upload.end", **self._of}

    def begin(self) -> dict[str, Any]:
        """The message that says what comes."""
        more = {"req": self._req, "content_type": "application/json"}
        return {"event": "http.upload.begin", **self._of, **more}
