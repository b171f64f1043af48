"""When lines leave: at once on a quiet path, in company on a slow one.

    line comes │ first of its stream, or the last frame is acknowledged   → leaves at once
               │ otherwise it waits for: that acknowledgement, BATCH_LINES lines, `batch_ms` since the
               │ oldest waiting line, or FRAME_TARGET_B bytes, whichever is first

So fast paths carry single lines and slow ones batches, with no knob, and a peer that never acknowledges
gets plain windows. Measured against a window that always waits it saves half a window per line.
Pure; owned by one `exchange`.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from wire import limits


class Sized(Protocol):
    """What is gathered: a line or a piece of bytes."""

    @property
    def size(self) -> int:
        """Bytes it takes in a frame."""


_Item = TypeVar("_Item", bound=Sized)


class Batcher(Generic[_Item]):
    """Lines, or pieces of bytes, of one stream on their way into frames.

    Args:
        batch_ms: longest wait of a line, milliseconds.
    """

    __slots__ = ("_batch_s", "_clear", "_held", "_held_b", "_oldest_at")

    def __init__(self, batch_ms: int = limits.BATCH_MS) -> None:
        self._batch_s = batch_ms / 1000
        self._held: list[_Item] = []
        self._held_b = 0
        self._oldest_at = 0.0
        self._clear = True

    @property
    def gathering(self) -> bool:
        """Whether a line that comes is held, unless it fills a frame."""
        return not self._clear

    def feed(self, line: _Item, now: float) -> list[_Item] | None:
        """Take a line; lines that must leave before it can be held, or None."""
        full = None
        too_large = self._held_b + line.size > limits.FRAME_TARGET_B
        if self._held and (too_large or len(self._held) >= limits.BATCH_LINES):
            full = self._take()
        if not self._held:
            self._oldest_at = now
        self._held.append(line)
        self._held_b += line.size
        return full

    def acknowledged(self) -> None:
        """The last frame arrived: the path is clear."""
        self._clear = True

    def due_at(self) -> float | None:
        """When `advance` will have something to give."""
        return self._oldest_at + self._batch_s if self._held else None

    def advance(self, now: float, *, flush: bool = False) -> list[_Item] | None:
        """The lines that leave now, or None."""
        if not self._held:
            return None
        full = len(self._held) >= limits.BATCH_LINES or self._held_b >= limits.FRAME_TARGET_B
        if flush or self._clear or full or now >= self._oldest_at + self._batch_s:
            return self._take()
        return None

    def _take(self) -> list[_Item]:
        batch, self._held, self._held_b = self._held, [], 0
        self._clear = False
        return batch
