"""Who waits for an answer to which message.

Keyed by the destination's public key and the message id, so that a stranger who guesses an id cannot
answer for it. Pure; owned by `messenger`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from relay.nkn import payload
from wire import limits

Acknowledged = Callable[["str | bytes | None"], None]
"""Called with the reply's data, or None for an acknowledgement; once per destination."""


class Waiting:
    """A bounded table; the oldest waiter is given up when it is full."""

    def __init__(self, counts: Counter[str]) -> None:
        self._waiters: dict[tuple[bytes, bytes, bool], Acknowledged] = {}
        self._counts = counts

    def __len__(self) -> int:
        return len(self._waiters)

    def expect(
        self, keys: Sequence[bytes], message_id: bytes, done: Acknowledged, *, sealed: bool = True
    ) -> None:
        """Call `done` at the first answer of each of `keys` to this message, sealed as it was."""
        for key in keys:
            if len(self._waiters) >= limits.WAITERS_MAX:
                del self._waiters[next(iter(self._waiters))]
                self._counts["waiters_dropped"] += 1
            self._waiters[key, message_id, sealed] = done

    def forget(self, key: bytes, message_id: bytes) -> None:
        """Wait no longer."""
        for sealed in (True, False):
            self._waiters.pop((key, message_id, sealed), None)

    def answer(self, key: bytes, answer: payload.Payload, *, sealed: bool = True) -> None:
        """A reply or acknowledgement came from the owner of `key`, as a seal proves; or as nothing does.

        An unsealed one answers an unsealed message only: anybody could have written it.
        """
        is_ack = answer.type == payload.ACK
        self._counts["acks_received" if is_ack else "replies_received"] += 1
        done = self._waiters.pop((key, answer.reply_to_id, sealed), None)
        if done is not None:
            done(None if is_ack else answer.data)
        elif not sealed:
            self._counts["unsealed_dropped"] += 1
