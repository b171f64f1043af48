"""Through the whole front, byte for byte: a thousand random exchanges, chunks, targets, versions of HTTP."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass

import pytest
from fronts import standing
from talking import LAST, OK, Told, chunk, connected, parsed, read_answer, read_body, talking

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = ["/api/tags", "/api/blobs/sha256:x", "/v1/models", "/v1/x", "/", "/api/version"]
TARGET = "abcXYZ019-._~!$&'()*+,;=:@/?[]|^`{}\"\\<>%20"
VALUE = [*range(0x21, 0x7F), *range(0x80, 0x100), 0x20, 0x09]
TOKEN = b"!$%&'*+-.^_`|~0123456789abcXYZ"


@dataclass
class Plan:
    """One random exchange."""

    number: int
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    body_cuts: list[int] | None
    status: int
    answer_headers: list[tuple[bytes, bytes]]
    answer: bytes
    answer_cuts: list[int] | None
    framing: str

    @property
    def request(self) -> bytes:
        lines = [b"%s %s HTTP/1.1\r\n" % (self.method.encode(), self.target.encode()), b"Host: localhost\r\n"]
        lines += [b"%s: %s\r\n" % pair for pair in self.headers]
        return b"".join([*lines, b"X-Plan: %d\r\n" % self.number, _framed(self.body, self.body_cuts)])

    @property
    def said(self) -> bytes:
        head = b"HTTP/1.1 %d Odd Reason\r\n" % self.status
        framed = b"\r\n" + self.answer if self.framing == "end" else _framed(self.answer, self.answer_cuts)
        if self.method == "HEAD":
            framed = b"\r\n" if self.framing == "end" else framed.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if self.status in {204, 304}:
            framed = b"\r\n"
        return b"".join([head, *(b"%s: %s\r\n" % pair for pair in self.answer_headers), framed])

    @property
    def heard(self) -> bytes:
        """The body that the client is to get."""
        return b"" if self.method == "HEAD" or self.status in {204, 304} else self.answer


def _framed(body: bytes, cuts: list[int] | None) -> bytes:
    if cuts is None:
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    return b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, pieces)) + LAST


def some_bytes(dice: random.Random) -> bytes:
    size = int(2 ** dice.uniform(0, 20)) if dice.random() < 0.9 else 0
    kind = dice.randrange(3)
    if kind == 0:
        return dice.randbytes(size)
    return (b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n" if kind == 1 else b'{"a":"\xc3\xa4"}\n') * (size // 20)


def some_cuts(dice: random.Random, body: bytes) -> list[int] | None:
    if dice.random() < 0.5:
        return None
    return sorted({dice.randrange(len(body)) for _ in range(dice.choice([0, 1, 5, 200]))}) if body else []


def some_headers(dice: random.Random, prefix: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for _ in range(dice.randrange(5)):
        name = prefix + bytes(dice.choice(TOKEN) for _ in range(dice.randrange(1, 12)))
        value = bytes(dice.choice(VALUE) for _ in range(dice.randrange(30))).strip()
        found.append((name, value))
    return found


def some_plan(dice: random.Random, number: int) -> Plan:
    body, answer = some_bytes(dice), some_bytes(dice)
    odd = "".join(dice.choice(TARGET) for _ in range(dice.randrange(40)))
    return Plan(
        number, dice.choice(METHODS), dice.choice(PATHS) + "?" + odd, some_headers(dice, b"X-Q"), body,
        some_cuts(dice, body), dice.choice([200, 200, 200, 201, 204, 304, 400, 404, 500, 503, 599]),
        some_headers(dice, b"X-A"), answer, some_cuts(dice, answer), dice.choice(["body", "body", "end"]),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
async def test_random_exchanges_are_the_same_on_both_sides(seed: int) -> None:
    dice = random.Random(seed)
    plans = [some_plan(dice, number) for number in range(50)]
    asked: list[Told] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_body(parsed(backend.heads[-1]), reader))
        writer.write(plans[len(asked) - 1].said)

    async with talking(talk) as backend, standing(backend.url, alive=False) as rooms:
        reader, writer = await connected(rooms.url)  # one connection: each has to end where the next begins
        for plan in plans:
            writer.write(plan.request)
            told = await asyncio.wait_for(read_answer(reader, plan.method), 20)
            got = asked[-1]
            assert got.first == f"{plan.method} {plan.target} HTTP/1.1".encode()
            sent = [(name.lower(), value) for name, value in plan.headers]  # as ASGI has them
            assert [pair for pair in got.headers if pair[0].startswith(b"x-q")] == sent
            assert got.every(b"x-plan") == [b"%d" % plan.number]
            assert got.body == plan.body
            assert told.status == plan.status
            assert [pair for pair in told.headers if pair[0].startswith(b"X-A")] == plan.answer_headers
            assert told.body == plan.heard
        writer.close()
    assert len(asked) == len(plans)


def some_stream(dice: random.Random) -> tuple[bytes, list[int]]:
    """Lines as a model's answer has them, and where they are cut."""
    texts = ["".join(chr(dice.randrange(32, 0x2FF)) for _ in range(dice.randrange(50))) for _ in range(100)]
    lines = [json.dumps({"response": text, "done": False}) for text in texts]
    lines.append(json.dumps({"done": True, "context": [1] * dice.randrange(3000)}))
    body = "".join(f"{line}\n" for line in lines).encode()
    ends = [at + 1 for at, byte in enumerate(body) if byte == 10][:-1]
    return body, ends if dice.random() < 0.5 else some_cuts(dice, body) or []


@pytest.mark.parametrize("seed", range(10))
async def test_answers_of_models_are_the_same_on_both_sides(seed: int) -> None:
    dice = random.Random(seed)
    streams = [some_stream(dice) for _ in range(20)]
    asked = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_body(parsed(backend.heads[-1]), reader)
        body, cuts = streams[asked]
        asked += 1
        writer.write(OK + b"Content-Type: application/x-ndjson\r\n" + _framed(body, cuts))

    async with talking(talk) as backend, standing(backend.url, alive=False) as rooms:
        rooms.backends[0].place.loaded = frozenset({"a:latest"})
        reader, writer = await connected(rooms.url)
        for body, _ in streams:
            ask = b'{"model":"a","prompt":"x"}'
            writer.write(b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n" + _framed(ask, None))
            told = await asyncio.wait_for(read_answer(reader), 20)
            assert (told.status, told.body) == (200, body)
        writer.close()
    assert asked == len(streams)
