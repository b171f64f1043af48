"""Requests that come in pieces, since they fit no message: gathered, asked for, whole or given up.

    begin  │ may be lost or come twice: the first chunk tells the same
    chunk  │ in any order; sent once, so what is missing is asked for
    end    │ may be lost: `total` is in each chunk
    asking │ UPLOAD_ASK_S after the last of them came, sooner behind `end`, then ever more rarely
    wrong  │ refused as soon as its request is known, which says in which form
    behind │ what comes of an upload that was given out or up is passed over, but a new beginning
    bounds │ UPLOAD_B of one request, UPLOADS_PEER of a key, UPLOADS_MAX and UPLOADS_ALL_B in all,
           │ UPLOAD_SILENCE_S of silence

Pure; owned by `engine`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from relay.events import Part, RequestId
from relay.retained import Name
from wire import limits
from wire.errors import Fault, bad_request, busy, upload_incomplete
from wire.window import Window


@dataclass(slots=True)
class _Upload:
    """One of them: `body_b` of its chunks, `size` with all that it takes besides."""

    upload: RequestId
    src: str
    heard_at: float
    ask_at: float
    pause_s: float = limits.UPLOAD_ASK_S
    total: int = 0
    req: dict[str, Any] | None = None
    content_type: str | None = None
    body_b: int = 0
    size: int = 0
    repeated: bool = False
    fault: Fault | None = None
    chunks: dict[int, bytes] = field(default_factory=dict)

    def missing(self) -> list[int]:
        """Numbers that are not there; [0] where even the request is not known."""
        if self.req is None or not self.total:
            return [0]
        return [seq for seq in range(1, self.total + 1) if seq not in self.chunks]


@dataclass(frozen=True, slots=True)
class Whole:
    """A request that is complete, and its body."""

    req: dict[str, Any]
    body: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """These chunks are to be sent again."""

    name: Name
    src: str
    upload: RequestId
    missing: list[int]


@dataclass(frozen=True, slots=True)
class Lost:
    """It will never be whole."""

    name: Name
    src: str
    req: dict[str, Any]
    fault: Fault


class Uploads:
    """The unfinished uploads of all peers.

    Attributes:
        size: bytes of memory that they take.
    """

    def __init__(self, all_b: int = limits.UPLOADS_ALL_B) -> None:
        self.size = 0
        self._all_b = all_b
        self._uploads: dict[Name, _Upload] = {}
        self._over: Window[bytes, RequestId, float] = Window(limits.UPLOADS_OVER_MAX, limits.UPLOAD_SILENCE_S)

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def over(self) -> int:
        """Names remembered of those that were given out or up."""
        return len(self._over)

    def take(self, src: str, name: Name, part: Part, now: float) -> Whole | None:
        """Take a part; the request, if it is complete now.

        Raises:
            PeerFault: it cannot be taken, and the upload is given up.
        """
        upload = self._uploads.get(name)
        if upload is None:
            repeated = self._is_over(name, now)
            if part.req is None and (repeated or self._is_full(name[0])):
                return None
            upload = self._begin(src, name, part, now)
            upload.repeated = repeated
        upload.src, upload.heard_at = src, now
        upload.pause_s = limits.UPLOAD_ASK_S
        upload.ask_at = now + (limits.GAP_FIRST_S if part.ends else limits.UPLOAD_ASK_S)
        try:
            self._add(upload, part)
        except Fault as fault:
            self._spoil(upload, fault)
        if upload.fault is not None:
            if upload.req is None:
                return None  # nobody knows yet how its peer wants the answer
            self.forget(name, now)
            raise upload.fault
        if upload.missing():
            return None
        self.forget(name, now)
        body = b"".join(upload.chunks[seq] for seq in range(1, upload.total + 1))
        return Whole(_typed(upload.req or {}, upload.content_type or "application/json"), body)

    def asked(self, name: Name) -> dict[str, Any]:
        """The request of an upload, as far as it is known."""
        upload = self._uploads.get(name)
        return {} if upload is None else upload.req or {}

    def forget(self, name: Name, now: float) -> None:
        """Give an upload out or up."""
        upload = self._uploads.pop(name, None)
        if upload is None:
            return
        self.size -= upload.size
        self._close(name, now)

    def tidy(self, now: float) -> None:
        """Forget what was over long ago."""
        self._over.forget(now)

    def due_at(self) -> float | None:
        """When `advance` has something to say."""
        if not self._uploads:
            return None
        return min(min(one.ask_at, one.heard_at + limits.UPLOAD_SILENCE_S) for one in self._uploads.values())

    def advance(self, now: float) -> Iterable[Wanted | Lost]:
        """What is to be asked for, and what is given up."""
        for name, upload in list(self._uploads.items()):
            if now >= upload.heard_at + limits.UPLOAD_SILENCE_S:
                self.forget(name, now)
                if upload.repeated and not upload.chunks:
                    continue  # a late copy of a beginning whose upload was answered
                there = f"{len(upload.chunks)} of {upload.total or 'an unknown number of'} chunks came"
                yield Lost(name, upload.src, upload.req or {}, upload_incomplete(f"{there}, then none"))
            elif now >= upload.ask_at:
                upload.pause_s = min(2 * upload.pause_s, limits.GAP_MAX_S)
                upload.ask_at = now + upload.pause_s
                yield Wanted(name, upload.src, upload.upload, upload.missing()[: limits.MISSING_MAX])

    # -- inside -------------------------------------------------------------------------

    def _spoil(self, upload: _Upload, fault: Fault) -> None:
        """It will be refused; what came of it need not be kept."""
        self.size -= upload.size
        upload.fault, upload.size, upload.body_b, upload.chunks = fault, 0, 0, {}

    def _close(self, name: Name, now: float) -> None:
        self._over.put(*name, now, now)

    def _is_full(self, key: bytes) -> bool:
        mine = sum(other == key for other, _ in self._uploads)
        return mine >= limits.UPLOADS_PEER or len(self._uploads) >= limits.UPLOADS_MAX

    def _is_over(self, name: Name, now: float) -> bool:
        """Whether an upload of that name was given out or up lately."""
        return self._over.get(*name, now) is not None

    def _begin(self, src: str, name: Name, part: Part, now: float) -> _Upload:
        if self._is_full(name[0]):
            self._close(name, now)
            raise busy("too many uploads, of this key or of all, are not complete yet", limits.RETRY_AFTER_MS)
        upload = self._uploads[name] = _Upload(part.upload, src, now, now)
        return upload

    def _add(self, upload: _Upload, part: Part) -> None:
        if upload.req is None and part.req is not None:
            upload.req = part.req
            self._grow(upload, part.size)
        upload.content_type = upload.content_type or part.content_type
        if part.total:
            if upload.total not in {0, part.total}:
                raise bad_request(f"total_chunks was {upload.total} before, and now is {part.total}")
            if part.total > limits.UPLOAD_CHUNKS:
                raise bad_request(f"total_chunks must be at most {limits.UPLOAD_CHUNKS}")
            upload.total = part.total
        if part.data is None or part.seq in upload.chunks or upload.fault is not None:
            return
        if not 1 <= part.seq <= (upload.total or limits.UPLOAD_CHUNKS):
            raise bad_request(f"seq of a chunk must be from 1 to total_chunks, not {part.seq}")
        if upload.body_b + len(part.data) > limits.UPLOAD_B:
            raise bad_request(f"a request must not be larger than {limits.UPLOAD_B} bytes")
        self._grow(upload, len(part.data) + limits.UPLOAD_PIECE_B)
        upload.chunks[part.seq] = part.data
        upload.body_b += len(part.data)

    def _grow(self, upload: _Upload, size: int) -> None:
        if self.size + size > self._all_b:
            raise busy("the relay holds as many unfinished uploads as it can", limits.RETRY_AFTER_MS)
        upload.size += size
        self.size += size


def _typed(req: dict[str, Any], content_type: str) -> dict[str, Any]:
    """The request with a content type; one of its own counts more."""
    headers = req.get("headers") or {}
    if not isinstance(headers, dict) or any(name.lower() == "content-type" for name in headers):
        return req
    return {**req, "headers": {**headers, "Content-Type": content_type}}
