"""What Client and MultiClient have in common: identity, links, and the life of a message.

    sending    payload → sealed once → one signed copy per path → acknowledgement, reply or time-out
    receiving  frame → sender's key → unsealed → first copy? → handlers → reply or acknowledgement

Copies of a message are acknowledged each on its own path, repeated ones again; unsealed ones are dropped
unless asked for. An asyncio shell over `link`, `multi`, `seal` and `payload`; all of it runs on one loop.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from relay.nkn import address as nkn_address
from relay.nkn import envelope, multi, payload, seal
from relay.nkn.arrival import Arrival, Opener
from relay.nkn.delivery import Delivery, MessageHandler
from relay.nkn.dispatch import Dispatch, MessageTooLargeError, pack
from relay.nkn.identity import Identity
from relay.nkn.link import Link, LinkOptions, OutboxFull
from relay.nkn.waiting import Acknowledged, Waiting
from wire import limits


class NknTimeoutError(TimeoutError):
    """No reply and no acknowledgement came within the response time-out."""


class Messenger:
    """The shared half; use `Client` or `MultiClient`."""

    def __init__(
        self,
        seed: bytes | str | None,
        identifier: str,
        indices: Sequence[int],
        options: LinkOptions,
        *,
        response_timeout: float,
        msg_holding_seconds: int,
        encrypt: bool,
        accept_unencrypted: bool,
    ) -> None:
        raw = bytes.fromhex(seed) if isinstance(seed, str) else seed
        self._identity = Identity(os.urandom(32) if raw is None else raw)
        self.identifier = identifier
        self.addr = nkn_address.join(identifier, self._identity.public_key.hex())
        self._indices = list(indices)
        self._options = options
        self._response_timeout = response_timeout
        self._holding = msg_holding_seconds
        self._encrypt = encrypt
        self._links: dict[int, Link] = {}
        self._seen, self._routes, self._health = multi.Seen(), multi.Routes(), multi.PathHealth()
        self._counts: Counter[str] = Counter()
        self._waiting = Waiting(self._counts)
        self._opener = Opener(self._identity, self._counts, accept_unencrypted=accept_unencrypted)
        self._delivery = Delivery(self._seen, self._respond, self._counts)
        self._handlers: dict[str, list[Callable[[str], Any]]] = {name: [] for name in _EVENTS}
        self._connected = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Any:
        self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    # -- the SDKs' names --------------------------------------------------------------

    def get_public_key(self) -> str:
        """64 hex digits."""
        return self._identity.public_key.hex()

    def get_seed(self) -> str:
        """64 hex digits; the secret."""
        return self._identity.seed.hex()

    def on_connect(self, handler: Callable[[str], Any]) -> None:
        """Call `handler(node)` at every connect of any part."""
        self._handlers["connect"].append(handler)

    def on_disconnect(self, handler: Callable[[str], Any]) -> None:
        """Call `handler(reason)` at every loss of any part's connection."""
        self._handlers["disconnect"].append(handler)

    def on_connect_failed(self, handler: Callable[[str], Any]) -> None:
        """Call `handler(reason)` after every failed attempt; more follow by themselves."""
        self._handlers["connect_failed"].append(handler)

    def on_message(self, handler: MessageHandler) -> None:
        """Call `handler(message)` for each message, once; see MessageHandler for what it may return."""
        self._delivery.handlers.append(handler)

    def start(self) -> None:
        """Begin to connect; `async with` does it for you."""
        for index in self._indices:
            if index not in self._links:
                self._links[index] = Link(
                    index,
                    nkn_address.add_prefix(self.addr, index),
                    self._identity,
                    self._options,
                    on_inbound=self._arrive,
                    on_change=self._changed,
                )
        if len(self._links) > 1 and not self._tasks:
            self._spawn(self._watch_paths())

    async def close(self) -> None:
        """Leave the network; whoever waits for a reply gets a time-out."""
        for task in list(self._tasks):
            task.cancel()
        self._delivery.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Return once one part is connected; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            await self._connected.wait()

    @property
    def is_ready(self) -> bool:
        """Whether at least one part is connected now."""
        return any(link.ready for link in self._links.values())

    @property
    def queued_b(self) -> int:
        """Bytes that wait for the slowest part's socket."""
        return max((link.queued_b for link in self._links.values()), default=0)

    async def send(
        self,
        dest: str | Sequence[str],
        data: str | bytes,
        *,
        no_reply: bool = False,
        response_timeout: float | None = None,
        message_id: bytes | None = None,
        max_holding_seconds: int | None = None,
        encrypt: bool | None = None,
    ) -> str | bytes | None:
        """Send and wait for the first reply; None is an acknowledgement (or `no_reply`).

        Raises:
            NknTimeoutError: nothing came back in `response_timeout` seconds (0: wait for ever).
            AddressError: a destination is no address.
            MessageTooLargeError: the message does not fit the network's limit.
            OutboxFull: too much waits for every node's socket.
        """
        future: asyncio.Future[str | bytes | None] = asyncio.get_running_loop().create_future()
        identifier = message_id or os.urandom(payload.MESSAGE_ID_B)
        dests = [dest] if isinstance(dest, str) else list(dest)

        def answered(reply: str | bytes | None) -> None:
            if not future.done():
                future.set_result(reply)

        self.send_nowait(
            dests,
            data,
            no_reply=no_reply,
            message_id=identifier,
            max_holding_seconds=max_holding_seconds,
            encrypt=encrypt,
            on_ack=None if no_reply else answered,
        )
        if no_reply:
            return None
        wait = self._response_timeout if response_timeout is None else response_timeout
        try:
            async with asyncio.timeout(wait or None):
                return await future
        except TimeoutError as error:
            self._counts["send_timeouts"] += 1
            raise NknTimeoutError(f"no reply within {wait:g} s") from error
        finally:
            self.forget(dests, identifier)

    def send_nowait(
        self,
        dest: str | Sequence[str],
        data: str | bytes,
        *,
        no_reply: bool = False,
        message_id: bytes | None = None,
        max_holding_seconds: int | None = None,
        encrypt: bool | None = None,
        on_ack: Acknowledged | None = None,
    ) -> bytes:
        """Queue a message on all paths and return its id; `on_ack(reply)` is called at the first answer.

        Raises: as `send`, but for the time-out.
        """
        identifier = message_id or os.urandom(payload.MESSAGE_ID_B)
        message = payload.message(data, identifier, no_reply=no_reply).encode()
        dests = [nkn_address.normalise(one) for one in ([dest] if isinstance(dest, str) else dest)]
        holding = self._holding if max_holding_seconds is None else max_holding_seconds
        if on_ack is not None:
            self._waiting.expect([nkn_address.public_key(one) for one in dests], identifier, on_ack)
        self._dispatch(dests, message, holding, encrypt=self._encrypt if encrypt is None else encrypt)
        if not no_reply:
            for link in self._links.values():
                if link.ready:
                    self._health.sent(link.index, time.monotonic())
        self._counts["sent"] += 1
        return identifier

    def forget(self, dest: str | Sequence[str], message_id: bytes) -> None:
        """Wait no longer for an answer to this message."""
        for one in [dest] if isinstance(dest, str) else dest:
            self._waiting.forget(nkn_address.public_key(one), message_id)

    def statistics(self) -> dict[str, Any]:
        """Counters since the start, of the messages and of each part."""
        parts = {
            link.address.partition(".")[0] if index >= 0 else "": {
                "ready": link.ready,
                "node": link.node.addr if link.node else None,
                "queued_bytes": link.queued_b,
                **link.counts,
            }
            for index, link in self._links.items()
        }
        return {**self._counts, "waiting": len(self._waiting), "seen": len(self._seen), "parts": parts}

    # -- sending ----------------------------------------------------------------------

    def _dispatch(self, dests: Sequence[str], message: bytes, holding: int, *, encrypt: bool) -> None:
        sealed = self._sealed(dests, message) if encrypt else [seal.plain(message)] * len(dests)
        ready = [index for index, link in self._links.items() if link.ready] or list(self._links)
        copies: dict[int, list[tuple[str, bytes]]] = {}
        for one, body in zip(dests, sealed, strict=True):
            for index, part in self._routes.towards(one, ready):
                copies.setdefault(index, []).append((nkn_address.add_prefix(one, part), body))
        dispatches = [(index, pack(copy, holding)) for index, copy in copies.items()]
        full = 0
        for index, packed in dispatches:
            try:
                for dispatch in packed:
                    self._links[index].send(dispatch)
            except OutboxFull:
                full += 1
        if full and full == len(copies):
            raise OutboxFull(f"too much waits for the nodes ({self.queued_b} bytes)")

    def _sealed(self, dests: Sequence[str], message: bytes) -> list[bytes]:
        keys = [self._identity.shared_key(nkn_address.public_key(one)) for one in dests]
        if len(keys) == 1:
            return [seal.seal(message, keys[0], os.urandom(seal.NONCE_B))]
        return seal.seal_many(
            message,
            keys,
            payload_nonce=os.urandom(seal.NONCE_B),
            key=os.urandom(seal.KEY_B),
            key_nonces=[os.urandom(seal.NONCE_B) for _ in keys],
        )

    # -- receiving --------------------------------------------------------------------

    def _arrive(self, index: int, inbound: envelope.Inbound) -> None:
        arrival = self._opener.open(index, inbound)
        if arrival is None:
            return
        if arrival.encrypted:
            self._routes.heard(arrival.src, index, arrival.prefix)
        if arrival.payload.type == payload.ACK or arrival.payload.reply_to_id:
            self._health.acked(index, time.monotonic())
            self._waiting.answer(arrival.key, arrival.payload)
        else:
            self._delivery.deliver(arrival, time.monotonic())

    def _respond(self, arrival: Arrival, answer: payload.Payload, path: int | None) -> None:
        """Send an answer on the path its message came by, or on all of them."""
        raw = answer.encode()
        try:
            if path is None:
                self._dispatch([arrival.src], raw, limits.HOLD_REPLY_S, encrypt=arrival.encrypted)
            else:
                sealed = self._sealed([arrival.src], raw) if arrival.encrypted else [seal.plain(raw)]
                self._links[path].send(Dispatch((arrival.origin,), tuple(sealed)))
        except (OutboxFull, MessageTooLargeError) as error:
            self._counts["answers_dropped"] += 1
            self._report(error)

    # -- links ------------------------------------------------------------------------

    def _changed(self, index: int, event: str, text: str) -> None:
        self._health.reset(index)
        if event == "connect":
            self._connected.set()
        elif not self.is_ready:
            self._connected.clear()
        for handler in self._handlers.get(event, ()):
            try:
                handler(text)
            except Exception as error:  # noqa: BLE001 - a handler's fault must not end the link
                self._report(error)

    def _report(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "an NKN client could not do what it was asked", "exception": error}
        )

    async def _watch_paths(self) -> None:
        """Renew parts that swallow messages although their socket is healthy."""
        while True:
            await asyncio.sleep(1.0)
            for index in self._health.dead(time.monotonic()):
                self._counts["paths_renewed"] += 1
                self._health.reset(index)
                self._links[index].renew("messages on this path are not acknowledged")

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_EVENTS = ("connect", "disconnect", "connect_failed")
