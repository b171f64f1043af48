"""Who waits for an answer to which message, and how the wait for the last ones ended.

Keyed by the destination's public key and the message id, so that a stranger who guesses an id cannot
answer for it. Every answer is counted once more under what it means, so that losses can be explained:

    acknowledged, replied │ the first answer to a message that somebody waits for
    answers_repeated      │ another path's copy of it
    answers_late          │ the wait was given up before
    answers_unawaited     │ nobody ever waited, or too long ago to tell

Pure; owned by `messenger`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from relay.nkn import payload
from wire import limits

Acknowledged = Callable[["str | bytes | None"], None]
"""Called with the reply's data, or None for an acknowledgement; once per destination."""

_Name = tuple[bytes, bytes, bool]
"""The receiver's key, the message id, and whether it was sealed."""


class Waiting:
    """A bounded table; the oldest waiter is given up when it is full."""

    def __init__(self, counts: Counter[str]) -> None:
        self._waiters: dict[_Name, Acknowledged] = {}
        self._settled: dict[_Name, str] = {}
        self._settled_before: dict[_Name, str] = {}
        self._counts = counts

    def __len__(self) -> int:
        return len(self._waiters)

    def expect(
        self, keys: Sequence[bytes], message_id: bytes, done: Acknowledged, *, sealed: bool = True
    ) -> None:
        """Call `done` at the first answer of each of `keys` to this message, sealed as it was."""
        for key in keys:
            if len(self._waiters) >= limits.WAITERS_MAX:
                self._give_up(next(iter(self._waiters)))
                self._counts["waiters_dropped"] += 1
            self._waiters[key, message_id, sealed] = done

    def forget(self, key: bytes, message_id: bytes) -> None:
        """Wait no longer."""
        for sealed in (True, False):
            if (key, message_id, sealed) in self._waiters:
                self._give_up((key, message_id, sealed))

    def answer(self, key: bytes, answer: payload.Payload, *, sealed: bool = True) -> None:
        """A reply or acknowledgement came from the owner of `key`, as a seal proves; or as nothing does.

        An unsealed one answers an unsealed message only: anybody could have written it.
        """
        is_ack = answer.type == payload.ACK
        self._counts["acks_received" if is_ack else "replies_received"] += 1
        name = (key, answer.reply_to_id, sealed)
        done = self._waiters.pop(name, None)
        if done is None:
            unasked = "answers_unawaited" if sealed else "unsealed_dropped"
            self._counts[self._settled.get(name) or self._settled_before.get(name, unasked)] += 1
            return
        self._settle(name, "answers_repeated")
        self._counts["acknowledged" if is_ack else "replied"] += 1
        done(None if is_ack else answer.data)

    def age(self) -> None:
        """What was settled before the last time is forgotten."""
        self._settled_before, self._settled = self._settled, {}

    def _give_up(self, name: _Name) -> None:
        del self._waiters[name]
        self._settle(name, "answers_late")

    def _settle(self, name: _Name, later: str) -> None:
        """From now on an answer counts as `later`."""
        self._settled[name] = later
        if len(self._settled) >= limits.ANSWERED_RECENTLY_MAX // 2:
            self.age()
