"""The one owner of the engine: feeds it events, carries out its commands, wakes it when it is due.

Everything here runs on one asyncio loop. Between the pure engine and the shells `upstream` and `nkn`; started
by `cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from relay import thrift
from relay.commands import Abort, Command, Effort, Gather, Hold, Note, Probe, Send, Start
from relay.engine import Engine
from relay.nkn import Message, MessageTooLargeError, MultiClient, OutboxFull
from relay.runs import Glimpse
from relay.upstream import Upstream, probe
from wire import limits
from wire.errors import Fault

_DRAIN_S = 2.0
"""How long a stopping relay waits for its last frames to leave."""
_RECHECK_S = 0.02


class Pump:
    """Runs an engine.

    Args:
        client: the relay's NKN client, not yet started.
        workers: HTTP worker threads.
        on_note: takes what an operator may want to see.
    """

    def __init__(
        self, engine: Engine, client: MultiClient, workers: int, on_note: Callable[[Note], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._engine = engine
        self._client = client
        self._on_note = on_note
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._arming = False
        self._paused = False
        self._upstream = Upstream(workers, self)
        client.on_message(self._message)
        self._tidying = self._loop.call_later(limits.TIDY_S, self._tidy)

    async def stop(self) -> None:
        """End every stream with its `end` frame and let the frames leave."""
        self._do(self._engine.stop(time.monotonic()))
        until = time.monotonic() + _DRAIN_S
        while self._client.queued_b and time.monotonic() < until:  # noqa: ASYNC110 - links signal no one
            await asyncio.sleep(_RECHECK_S)
        # What the last write handed to the kernel leaves by itself; a breath lets a node read it.
        await asyncio.sleep(_RECHECK_S)
        self._upstream.close()
        self._tidying.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def statistics(self) -> dict[str, Any]:
        """Counters of the engine, of this pump and of the NKN client."""
        own = {**self.counts, "unsent_b": self._client.queued_b}
        return {**self._engine.statistics(), **own, "nkn": self._client.statistics()}

    def running(self) -> list[Glimpse]:
        """Requests that run or wait, for people."""
        return self._engine.running()

    # -- events of upstreams ---------------------------------------------------------------

    def head(self, tag: int, status: int, headers: dict[str, str]) -> None:
        """See reading.Events."""
        self._do(self._engine.head(tag, status, headers, time.monotonic()))

    def data(self, tag: int, data: bytes, came_at: float) -> None:
        """See reading.Events."""
        self._do(self._engine.data(tag, data, came_at))

    def eof(self, tag: int) -> None:
        """See reading.Events."""
        self._do(self._engine.eof(tag, time.monotonic()))

    def failed(self, tag: int, fault: Fault) -> None:
        """See reading.Events."""
        self._do(self._engine.failed(tag, fault, time.monotonic()))

    def closed(self, tag: int) -> None:
        """See reading.Events."""
        self._do(self._engine.closed(tag, time.monotonic()))

    # -- commands -------------------------------------------------------------------------

    def _message(self, message: Message) -> bool | None:
        """None acknowledges; False leaves a stranger without even that sign of life."""
        now = time.monotonic()
        self.counts["bytes_in"] += _size(message.payload)
        self._do(self._engine.message(message.src, message.key, message.payload, now))
        return None if self._engine.policy.knows(message.key) else False

    def _acknowledged(self, tag: int, number: int, _reply: object) -> None:
        self._do(self._engine.acknowledged(tag, number, time.monotonic()))

    def _do(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    self._send(command)
                case Start(tag, request):
                    self._upstream.start(tag, request)
                case Abort(tag):
                    self._upstream.abort(tag)
                case Gather(tag, lazy):
                    self._upstream.gather(tag, lazy=lazy)
                case Hold(tag, held):
                    self._upstream.hold(tag, held=held)
                case Probe(urls):
                    self._probe(dict(urls))
                case Note():
                    self._note(command)
        if not self._arming:  # once for all that happens in this turn of the loop
            self._arming = True
            self._loop.call_soon(self._arm)

    def _note(self, note: Note) -> None:
        if note.event == "request":
            self._unanswered[note.fields["tag"]] = time.monotonic()
        elif note.event == "end":
            self._unanswered.pop(note.fields["tag"], None)
        self._on_note(note)

    def _first(self, tag: int) -> None:
        """The first of a body leaves."""
        waited_s = time.monotonic() - self._unanswered.pop(tag)
        self._on_note(Note("first", {"tag": tag, "s": round(waited_s, 4)}))

    def _send(self, command: Send) -> None:
        if command.effort is Effort.SPARE and self._client.queued_b > limits.UNSENT_LOW_B:
            self.counts["again_no_room"] += 1
            return
        on_ack = None
        if command.tag is not None and command.number is not None:
            on_ack = partial(self._acknowledged, command.tag, command.number)
        try:
            self._client.send_nowait(
                command.dest,
                command.text,
                on_ack=on_ack,
                max_holding_seconds=limits.HOLD_FRAMES_S,
                resend=command.effort is Effort.SURE or command.effort is Effort.LEAN,
                one_path=command.effort is Effort.LEAN,
            )
        except (OutboxFull, MessageTooLargeError) as error:
            self.counts[f"send_failed_{type(error).__name__}"] += 1
        else:
            self.counts["bytes_out"] += _size(command.text)
            if command.effort is Effort.LEAN and command.tag in self._unanswered:
                self._first(command.tag)
        if not self._paused and self._client.queued_b > limits.UNSENT_HIGH_B:
            self._paused = True
            self._upstream.pause(paused=True)
            self._loop.call_later(_RECHECK_S, self._recheck)

    def _recheck(self) -> None:
        """Workers were held because a node's socket is slow; let them go on once it caught up."""
        if self._client.queued_b > limits.UNSENT_LOW_B:
            self._loop.call_later(_RECHECK_S, self._recheck)
            return
        self._paused = False
        self._upstream.pause(paused=False)

    def _probe(self, urls: dict[str, str]) -> None:
        def ask() -> None:
            services = probe(urls)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the program is ending
                self._loop.call_soon_threadsafe(self._probed, services)

        threading.Thread(target=ask, name="health", daemon=True).start()

    def _probed(self, services: list[dict[str, Any]]) -> None:
        self._do(self._engine.probed(services, time.monotonic()))

    def _arm(self) -> None:
        """Wake up when the engine is due; too early does no harm, so the timer is seldom moved."""
        self._arming = False
        due = self._engine.due_at()
        if due is None:
            return
        # The loop's clock is time.monotonic.
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tidy(self) -> None:
        """Forget what is too old, even if nothing comes; while nothing runs, give memory back."""
        self._tidying = self._loop.call_later(limits.TIDY_S, self._tidy)
        self._engine.tidy(time.monotonic())
        if self._upstream.idle:
            thrift.give_back()

    def _tick(self) -> None:
        self._timer = None
        self._do(self._engine.advance(time.monotonic()))


def _size(text: str | bytes) -> int:
    """Bytes on the wire, before sealing."""
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode(errors="replace"))
