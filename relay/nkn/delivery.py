"""A message's way to the handlers, and what goes back: a reply, an acknowledgement, or nothing.

    handlers return │ goes back
    None            │ an acknowledgement, on the path of each copy
    str or bytes    │ a reply, on all paths; copies that come later get it again if it was short
    False           │ nothing

The first copy is delivered, later ones only answered as the first was: a lost acknowledgement would
otherwise make every resend time out, as it does with the official SDKs. Runs on one asyncio loop.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from relay.nkn import multi, payload
from relay.nkn.arrival import Arrival
from wire import limits


@dataclass(frozen=True, slots=True)
class Message:
    """A message as handlers get it; names as in the official SDKs.

    Attributes:
        src: the sender's address without `__i__.` prefix.
        payload: str for TEXT, bytes for BINARY.
        payload_type: payload.TEXT or payload.BINARY.
        is_encrypted: False only where `accept_unencrypted` is set; `src` then proves nothing.
        message_id: 8 bytes.
        no_reply: the sender waits for nothing.
        key: the sender's 32-byte public key.
    """

    src: str
    payload: str | bytes
    payload_type: int
    is_encrypted: bool
    message_id: bytes
    no_reply: bool
    key: bytes


MessageHandler = Callable[[Message], Any]
"""Returns, or its awaitable returns, str or bytes to reply, None to acknowledge, False to stay silent."""
Respond = Callable[[Arrival, payload.Payload, "int | None"], None]
"""Sends an answer to an arrival on one path, or on all (None)."""


class Delivery:
    """Calls the handlers once per message.

    Attributes:
        handlers: called in order; the first reply among them goes back.
    """

    def __init__(self, seen: multi.Seen, respond: Respond, counts: Counter[str]) -> None:
        self.handlers: list[MessageHandler] = []
        self._seen = seen
        self._respond = respond
        self._counts = counts
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> int:
        """Handlers, and what waits for them, under way."""
        return len(self._running)

    def deliver(self, arrival: Arrival, now: float) -> bool:
        """Take one copy of a message; whether it is the first."""
        inner = arrival.payload
        if len(self._running) >= limits.HANDLERS_MAX:
            self._counts["handlers_busy"] += 1
            return False
        copy, first = multi.Copy(), True
        if inner.message_id:
            # Unsealed messages, where they are accepted, cannot stand in the way of sealed ones.
            proven = arrival.key if arrival.encrypted else b"unsealed" + arrival.key
            copy, first = self._seen.arrive(proven, inner.message_id, now)
        if not first:
            self._counts["duplicates"] += 1
            self._answer_again(arrival, copy)
            return False
        self._counts["messages"] += 1
        results = [self._call(handler, _message(arrival)) for handler in self.handlers]
        if any(inspect.isawaitable(result) for result in results):
            # Each is started at once: one that waits for ever must not keep the next from its turn.
            started = [self._run(self._guard(result)) for result in results]
            self._run(self._settle(arrival, copy, started))
        else:
            self._answer(arrival, copy, results)
        return True

    async def close(self) -> None:
        """End handlers that still run."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _settle(self, arrival: Arrival, copy: multi.Copy, started: Sequence[asyncio.Task[Any]]) -> None:
        self._answer(arrival, copy, await asyncio.gather(*started))

    def _answer(self, arrival: Arrival, copy: multi.Copy, results: Sequence[Any]) -> None:
        reply = next((result for result in results if isinstance(result, str | bytes)), None)
        # Without an id an answer would name no message, and two who reply would do so for ever.
        unwanted = arrival.payload.no_reply or not arrival.payload.message_id
        if unwanted or not results or (reply is None and False in results):
            copy.outcome = "silent"
        elif reply is None:
            copy.outcome = "ack"
            for one in (arrival, *copy.waiting):
                self._acknowledge(one)
        else:
            copy.outcome = "reply"
            self._seen.keep_reply(copy, reply)
            self._counts["replies_sent"] += 1
            self._respond(arrival, payload.reply(reply, arrival.payload.message_id), None)
        copy.waiting.clear()

    def _answer_again(self, arrival: Arrival, copy: multi.Copy) -> None:
        if copy.outcome == "pending" and all(arrival.index != other.index for other in copy.waiting):
            copy.waiting.append(arrival)
        elif copy.outcome == "ack":
            self._counts["acks_repeated"] += 1
            self._acknowledge(arrival)
        elif copy.outcome == "reply" and copy.reply is not None:
            self._respond(arrival, payload.reply(copy.reply, arrival.payload.message_id), arrival.index)

    def _acknowledge(self, arrival: Arrival) -> None:
        self._counts["acks_sent"] += 1
        self._respond(arrival, payload.ack(arrival.payload.message_id), arrival.index)

    async def _guard(self, result: Any) -> Any:
        try:
            return await result if inspect.isawaitable(result) else result
        except Exception as error:  # noqa: BLE001 - a handler's fault must not end the client
            return self._failed(error)

    def _call(self, handler: MessageHandler, message: Message) -> Any:
        try:
            return handler(message)
        except Exception as error:  # noqa: BLE001 - a handler's fault must not end the client
            return self._failed(error)

    def _failed(self, error: Exception) -> bool:
        self._counts["handler_errors"] += 1
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a handler of NKN messages raised", "exception": error}
        )
        return False


def _message(arrival: Arrival) -> Message:
    inner = arrival.payload
    return Message(
        src=arrival.src,
        payload=inner.data,
        payload_type=inner.type,
        is_encrypted=arrival.encrypted,
        message_id=inner.message_id,
        no_reply=inner.no_reply,
        key=arrival.key,
    )
