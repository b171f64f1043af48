"""One request's answer alone: whole, or known to be cut, and with no header that anybody made up."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from comers import statuses

from farm.asgi import PIECES
from farm.reply import Reply


class Paper:
    """A connection that keeps what is written on it."""

    def __init__(self) -> None:
        self.said = b""
        self.ends: list[bool] = []
        self.room = asyncio.Event()
        self.room.set()

    def write(self, data: bytes) -> None:
        self.said += data

    async def drained(self) -> None:
        raise AssertionError("there is room")

    def read_on(self) -> None:
        pass

    def answered(self, _: Reply, *, whole: bool) -> None:
        self.ends.append(whole)


START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
PART = {"type": "http.response.body", "body": b"ab", "more_body": True}
END = {"type": "http.response.body", "body": b""}


async def replied(*messages: dict[str, Any], method: str = "GET", fails: bool = False) -> Paper:
    async def app(_: object, __: object, send: Any) -> None:
        for message in messages:
            await send(message)
        if fails:
            raise ArithmeticError

    paper = Paper()
    scope = {"http_version": "1.1", "method": method, "target": "/x"}
    await Reply(paper, scope, keep_alive=True, expects=False, default=[(b"date", b"D")]).run(app)
    return paper


def started(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return START | {"headers": list(headers)}


@pytest.mark.parametrize(
    ("messages", "fails", "status", "whole"),
    [
        ([START, PART, END], False, 200, True),
        ([START, PART, END], True, 200, True),
        ([], False, 500, True),
        ([], True, 500, True),
        ([START], True, 200, False),
        ([START, PART], False, 200, False),
        ([START, END], False, 200, False),
        ([START, PART, PART], False, 200, False),
        ([START, START], False, 200, False),
        ([PART], False, 500, True),
        ([started((b"x", b"a\r\nEvil: 1"))], False, 500, True),
        ([started((b"x", b"a\0"))], False, 500, True),
        ([started((b"x\r\nevil", b"a"))], False, 500, True),
        ([started((b"x y", b"a"))], False, 500, True),
        ([started((b"", b"a"))], False, 500, True),
        ([started((b"x:", b"a"))], False, 500, True),
        ([started(), {"type": PIECES, "pieces": [b"a", b"", b"bc"]}, END], False, 200, True),
    ],
)
async def test_a_reply_is_whole_or_known_to_be_cut(
    messages: list[dict[str, Any]], fails: bool, status: int, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    paper = await replied(*messages, fails=fails)
    assert statuses(paper.said) == [status]
    assert paper.ends == [whole]
    assert b"Evil" not in paper.said
    assert b"evil" not in paper.said
    assert b"date: D\r\n" in paper.said


async def test_a_reply_to_head_has_no_body() -> None:
    paper = await replied(START, PART, END, method="HEAD")
    assert paper.said.endswith(b"content-length: 2\r\n\r\n")
    assert paper.ends == [True]
