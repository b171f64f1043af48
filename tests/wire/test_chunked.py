"""Chunks in any pieces are the same body, and what is none is named."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.chunked import ChunkError, ChunkReader

END = b"0\r\n\r\n"


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(data), extension, data)


def read(*pieces: bytes) -> tuple[list[bytes], bool]:
    reader = ChunkReader()
    return [reader.feed(piece) for piece in pieces], reader.done


def test_what_has_arrived_comes_out_at_once_in_one_piece() -> None:
    assert read(chunk(b"a\n") + chunk(b"b\n") + b"5\r\nhe", b"llo\r\n", END) == (
        [b"a\nb\nhe", b"llo", b""],
        True,
    )


def test_the_end_may_come_with_the_last_bytes_or_alone() -> None:
    assert read(chunk(b"a") + END) == ([b"a"], True)
    assert read(chunk(b"a"), b"0\r\n", b"\r\n") == ([b"a", b"", b""], True)


def test_what_follows_the_end_is_not_the_bodys() -> None:
    assert read(END + b"HTTP/1.1 200 OK", chunk(b"x")) == ([b"", b""], True)


@pytest.mark.parametrize(
    "raw",
    [
        chunk(b"ab", b";name=value"),
        chunk(b"ab", b'; q="\\x"'),
        b"2 \r\nab\r\n",
        b"0002\r\nab\r\n",
        chunk(b"a") + chunk(b"b"),
    ],
)
def test_sizes_in_every_spelling(raw: bytes) -> None:
    assert read(raw + b"0;last\r\nTrailer: x\r\nOther: y\r\n\r\n") == ([b"ab"], True)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\r\n", "no number"),
        (b"x\r\n", "no number"),
        (b"-1\r\n", "no number"),
        (b"0x1\r\n", "no number"),
        (b"+2\r\nab\r\n", "no number"),
        (b"1234567890abcdef0\r\n", "no number"),
        (b"2\r\nabc\r\n", "longer than it says"),
        (b"2\r\nab0\r\n", "longer than it says"),
        (b"1;" + b"x" * 2000, "too long"),
        (b"1;" + b"x" * 2000 + b"\r\n", "too long"),
        (b"0\r\n" + b"x" * 40_000, "too long"),
        (b"0\r\n" + b"Name: value\r\n" * 4_000, "trailers are too long"),
    ],
)
def test_what_is_no_chunk_is_named(raw: bytes, why: str) -> None:
    with pytest.raises(ChunkError, match=why):
        read(raw)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(1, 12), max_size=80))
def test_any_body_in_any_chunks_cut_anywhere_is_what_another_reader_reads(
    parts: list[bytes], cuts: list[int]
) -> None:
    raw = b"".join(map(chunk, parts)) + END
    reader, got, at = ChunkReader(), [], 0
    for cut in [*cuts, len(raw)]:
        got.append(reader.feed(raw[at : at + cut]))
        at += cut
    assert b"".join(got) == b"".join(parts)
    assert reader.done
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    other.send(h11.EndOfMessage())
    other.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    theirs = b""
    while not isinstance(event := other.next_event(), h11.EndOfMessage):
        theirs += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert theirs == b"".join(got)


def test_the_first_byte_of_a_chunk_comes_out_without_the_rest() -> None:
    assert read(b"5\r\n", b"h", b"ello", b"\r", b"\n" + END) == ([b"", b"h", b"ello", b"", b""], True)


def test_a_size_line_may_be_as_long_as_the_bound_and_no_longer() -> None:
    line = b"1;" + b"x" * 1022
    assert read(line, b"\r\na\r\n" + END) == ([b"", b"a"], True)
    assert read(chunk(b"a" * 600) + line[:600], line[600:], b"\r\na\r\n" + END)[1]
    for raw in (line + b"x", line + b"x\r\na\r\n"):
        with pytest.raises(ChunkError, match="too long"):
            read(raw)


def test_trailers_may_be_as_long_as_the_bound_all_together() -> None:
    half = b"x" * (16 * 1024) + b"\r\n"
    assert read(b"0\r\n" + half * 2 + b"\r\n")[1]
    with pytest.raises(ChunkError, match="trailers are too long"):
        read(b"0\r\n" + half * 2 + b"x\r\n\r\n")


def test_what_looks_like_a_chunk_within_one_or_behind_the_last_is_none() -> None:
    reader = ChunkReader()
    assert reader.feed(b"8\r\n") == b""
    assert reader.feed(b"3\r\nabc\r\n\r\n0\r\n") == b"3\r\nabc\r\n"
    assert not reader.done
    assert reader.feed(b"3\r\nabc\r\n") == b""
    assert (reader.feed(b"\r\n"), reader.done) == (b"", True)
