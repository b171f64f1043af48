"""Binary frames as the recording tells them in words, and the addresses it shortens.

`OUTBOUND to @bob: TEXT "hello" id 0123456789abcdef hold 60` is a frame's words; `decoded` has it by fields.
Knows the file's language, not the file; used by `recording` and by what replays it.
"""

import json
import re
from dataclasses import dataclass

from relay.nkn import payload


@dataclass(frozen=True, slots=True)
class Content:
    """One message, as the words of the file tell it."""

    kind: str
    sealed: bool = True
    data: str | bytes = ""
    id: str = ""
    reply_to: str = ""

    @classmethod
    def of(cls, found, *, sealed):
        """The words for a payload of ours."""
        kind = {payload.TEXT: "TEXT", payload.BINARY: "BINARY", payload.ACK: "ACK"}[found.type]
        data = "" if kind == "ACK" else found.data
        return cls(kind, sealed, data, found.message_id.hex(), found.reply_to_id.hex())

    def payload(self):
        """The same as our own type."""
        if self.kind == "ACK":
            return payload.ack(bytes.fromhex(self.reply_to))
        if self.reply_to:
            return payload.reply(self.data, bytes.fromhex(self.reply_to))
        return payload.message(self.data, bytes.fromhex(self.id))


@dataclass(frozen=True, slots=True)
class Words:
    """A binary frame in words.

    Attributes:
        kind: OUTBOUND, INBOUND or RECEIPT.
        who: destinations, or the one source.
    """

    kind: str
    who: tuple[str, ...] = ()
    contents: tuple[Content, ...] = ()
    hold: int = 0
    asks: bool = False
    zlib: bool = False


_CONTENT = re.compile(
    r"(?P<kind>TEXT|BINARY|ACK)(?P<plain> unencrypted)?"
    r"(?: (?P<text>\"(?:[^\"\\]|\\.)*\")| (?P<hex>[0-9a-f]{8}))?"
    r"(?: id (?P<id>[0-9a-f]{16}))?(?: reply_to (?P<reply>[0-9a-f]{16}))?"
)


def address(text, known):
    """An address for `@label`, `@__0__.label` or `__0__.@label`; other texts as they are."""
    found = re.fullmatch(r"@?(__\d+__\.)?@?([\w-]+)", text)
    return (found[1] or "") + known[found[2]] if found and found[2] in known else text


def words(text, known):
    """A frame as `is` tells it; `known` has the addresses by label."""
    if text == "RECEIPT":
        return Words("RECEIPT")
    head, _, tail = text.partition(": ")
    kind, _, names = re.match(r"(OUTBOUND|INBOUND) (to|from) (.*)", head).groups()
    contents = tuple(
        Content(
            one["kind"],
            not one["plain"],
            _data(one),
            one["id"] or "",
            one["reply"] or "",
        )
        for one in _CONTENT.finditer(tail)
    )
    hold = re.search(r" hold (\d+)$", tail)
    return Words(
        kind,
        tuple(address(name, known) for name in names.split(", ")),
        contents,
        int(hold[1]) if hold else 0,
        tail.endswith(" prev_hash"),
        tail.endswith(" zlib"),
    )


def _data(found):
    if found["text"]:
        return json.loads(found["text"])
    return "" if found["kind"] == "ACK" else bytes.fromhex(found["hex"] or "")


def decoded(told, known):
    """The same for a frame whose fields the file tells one by one."""
    if told["message_type"] == "RECEIPT":
        return Words("RECEIPT")
    inbound = told["message_type"] == "INBOUND_MESSAGE"
    contents = tuple(
        Content(
            one["payload"]["type"],
            one["encrypted"],
            one["payload"].get("data", {}).get("text", ""),
            one["payload"].get("message_id", ""),
            one["payload"].get("reply_to_id", ""),
        )
        for one in ([told["payload"]] if inbound else told["payloads"])
    )
    who = (told["src"],) if inbound else told["dests"]
    return Words(
        "INBOUND" if inbound else "OUTBOUND",
        tuple(address(name, known) for name in who),
        contents,
        told.get("max_holding_seconds", 0),
        "prev_hash" in told,
        told.get("compression") == "ZLIB",
    )
