"""What Client and MultiClient have in common: identity, links, and the life of a message.

    sending    payload → sealed once → one signed copy per path → acknowledgement, reply or time-out
    receiving  frame → sender's key → unsealed → first copy? → handlers → reply or acknowledgement

Copies of a message are acknowledged each on its own path, repeated ones again; unsealed ones are dropped
unless asked for. An asyncio shell over `links`, `arrival`, `delivery` and `seal`; all of it runs on one loop.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from relay.nkn import address as nkn_address
from relay.nkn import envelope, multi, payload, seal
from relay.nkn.arrival import Arrival, Opener
from relay.nkn.delivery import Delivery, MessageHandler
from relay.nkn.dispatch import Dispatch
from relay.nkn.identity import Identity
from relay.nkn.link import LinkOptions
from relay.nkn.links import Links, Terms, report
from relay.nkn.outbox import OutboxFull
from relay.nkn.waiting import Acknowledged, Waiting
from wire import limits

COUNTERS = (
    "sent", "acks_received", "replies_received",
    "acknowledged", "replied", "answers_repeated", "answers_late", "answers_unawaited", "send_timeouts",
    "waiters_dropped", "resent", "resend_given_up", "resend_no_room", "resend_unproven",
    "messages", "duplicates", "acks_sent", "acks_repeated", "replies_sent", "answers_dropped",
    "handlers_busy", "handler_errors", "unsealed_dropped", "undecipherable_dropped", "sessions_dropped",
    "paths_renewed",
)  # fmt: skip
"""What `statistics` counts of messages."""


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
        self.addr = nkn_address.normalise(nkn_address.join(identifier, self._identity.public_key.hex()))
        if nkn_address.split_prefix(self.addr)[0] is not None:
            raise nkn_address.AddressError("an identifier must not begin with a part's prefix such as __0__.")
        self._response_timeout = response_timeout
        self._holding = msg_holding_seconds
        self._encrypt = encrypt
        self._seen = multi.Seen()
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._waiting = Waiting(self._counts)
        self._opener = Opener(self._identity, self._counts, accept_unencrypted=accept_unencrypted)
        self._delivery = Delivery(self._seen, self._respond, self._counts)
        self._links = Links(self.addr, self._identity, indices, options, self._counts)
        self._tidying: asyncio.TimerHandle | None = None

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
        """Call `handler(node)`, a plain function, at every connect of any part."""
        self._links.handlers["connect"].append(handler)

    def on_disconnect(self, handler: Callable[[str], Any]) -> None:
        """Call `handler(reason)`, a plain function, at every loss of any part's connection."""
        self._links.handlers["disconnect"].append(handler)

    def on_connect_failed(self, handler: Callable[[str], Any]) -> None:
        """Call `handler(reason)`, a plain function, after every failed attempt; more attempts follow."""
        self._links.handlers["connect_failed"].append(handler)

    def on_message(self, handler: MessageHandler) -> None:
        """Call `handler(message)` for each message, once; see MessageHandler for what it may return."""
        self._delivery.handlers.append(handler)

    def start(self) -> None:
        """Begin to connect; `async with` does it for you."""
        self._links.start(self._arrive)
        if self._tidying is None:
            self._tidy()

    async def close(self) -> None:
        """Leave the network; whoever waits for a reply gets a time-out."""
        if self._tidying is not None:
            self._tidying.cancel()
        await self._links.close()
        await self._delivery.close()

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Return once one part is connected; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            await self._links.connected.wait()

    @property
    def is_ready(self) -> bool:
        """Whether at least one part is connected now."""
        return self._links.ready

    @property
    def queued_b(self) -> int:
        """Bytes that wait for the slowest part's socket."""
        return self._links.queued_b

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
            KeyFault: a destination's key is no point on the curve; it cannot be sealed for.
            MessageTooLargeError: the message does not fit the network's limit.
            OutboxFull: too much waits for every node's socket.
        """
        future: asyncio.Future[str | bytes | None] = asyncio.get_running_loop().create_future()
        identifier = message_id or os.urandom(payload.MESSAGE_ID_B)
        dests = [dest] if isinstance(dest, str) else list(dest)
        wait = self._response_timeout if response_timeout is None else response_timeout

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
            expires_s=wait or math.inf,
        )
        if no_reply:
            return None
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
        resend: bool = False,
        one_path: bool = False,
        expires_s: float = limits.OUTBOX_AGE_S,
    ) -> bytes:
        """Queue a message on all paths and return its id; `on_ack(reply)` is called at the first answer.

        Args:
            resend: send it again, with the same id, until it is acknowledged: RESEND_TRIES times, and once
                more for each path that is lost meanwhile; for one sealed destination.
            one_path: with `resend`, begin with the best path instead of all.
            expires_s: drop it when it found no node for so long, and for longer than nodes would hold it.

        Raises: as `send`, but for the time-out; ValueError if `resend` is wanted where nothing could
        acknowledge.
        """
        identifier = message_id or os.urandom(payload.MESSAGE_ID_B)
        message = payload.message(data, identifier, no_reply=no_reply).encode()
        dests = [nkn_address.normalise(one) for one in ([dest] if isinstance(dest, str) else dest)]
        if not dests:
            raise ValueError("a message needs a destination")
        holding = self._holding if max_holding_seconds is None else max_holding_seconds
        if not 0 <= holding < 2**32:
            raise ValueError(f"max_holding_seconds is a number of seconds from 0 to 2**32 - 1, not {holding}")
        sealed = self._encrypt if encrypt is None else encrypt
        if resend and (no_reply or not sealed or len(dests) != 1):
            raise ValueError("resend needs one destination, sealed and able to acknowledge")
        keys = [nkn_address.public_key(one) for one in dests]
        name = (keys[0], identifier) if resend else None
        pairs = list(zip(dests, self._bodies(keys, message, encrypt=sealed), strict=True))
        terms = Terms(holding, expires_s, acked=not no_reply, resend=name, one_path=one_path)
        self._links.send(pairs, terms)
        if on_ack is not None:
            self._waiting.expect(keys, identifier, on_ack, sealed=sealed)
        self._counts["sent"] += 1
        return identifier

    def forget(self, dest: str | Sequence[str], message_id: bytes) -> None:
        """Wait no longer for an answer to this message."""
        for one in [dest] if isinstance(dest, str) else dest:
            self._waiting.forget(nkn_address.public_key(one), message_id)

    def statistics(self) -> dict[str, Any]:
        """Counters since the start and what is under way now; docs/nkn-client.md says what each explains."""
        now = {
            "waiting": len(self._waiting),
            "under_way": self._links.under_way,
            "handlers_running": self._delivery.running,
            "seen": len(self._seen),
        }
        return {**self._counts, **now, "parts": self._links.statistics()}

    # -- inside -------------------------------------------------------------------------

    def _bodies(self, keys: Sequence[bytes], message: bytes, *, encrypt: bool) -> list[bytes]:
        """The message for the owner of each key."""
        if not encrypt:
            return [seal.plain(message)] * len(keys)
        shared = [self._identity.shared_key(key) for key in keys]
        if len(shared) == 1:
            return [seal.seal(message, shared[0], os.urandom(seal.NONCE_B))]
        return seal.seal_many(
            message,
            shared,
            payload_nonce=os.urandom(seal.NONCE_B),
            key=os.urandom(seal.KEY_B),
            key_nonces=[os.urandom(seal.NONCE_B) for _ in shared],
        )

    def _tidy(self) -> None:
        """Forget what is too old, even if nothing comes any more."""
        self._seen.tidy(time.monotonic())
        self._waiting.age()
        self._tidying = asyncio.get_running_loop().call_later(limits.TIDY_S, self._tidy)

    def _arrive(self, index: int, inbound: envelope.Inbound) -> None:
        arrival = self._opener.open(index, inbound)
        if arrival is None:
            return
        answers = arrival.payload.type == payload.ACK or bool(arrival.payload.reply_to_id)
        if arrival.encrypted:
            self._links.heard(arrival, acked=answers)
        if answers:
            self._waiting.answer(arrival.key, arrival.payload, sealed=arrival.encrypted)
        elif self._delivery.deliver(arrival, time.monotonic()):
            self._links.count(index, "first")

    def _respond(self, arrival: Arrival, answer: payload.Payload, path: int | None) -> None:
        """Send an answer on the path its message came by, or on all of them."""
        try:
            (body,) = self._bodies([arrival.key], answer.encode(), encrypt=arrival.encrypted)
            if path is None:
                self._links.send([(arrival.src, body)], Terms(limits.HOLD_REPLY_S))
            else:
                self._links.send_on(path, Dispatch((arrival.origin,), (body,)))
        except (OutboxFull, ValueError) as error:  # too large, or text that cannot be encoded
            self._counts["answers_dropped"] += 1
            report(error)
