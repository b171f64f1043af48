import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import UpstreamFault
from wire.ndjson import LineSplitter, LineTooLong

STREAMS = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"", b"{}", "é".encode(), b"xyz"])).map(b"".join)
CUTS = st.lists(st.integers(0, 60))


def cut(data, places):
    """The same bytes in pieces, empty ones among them."""
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def lines_of(pieces, max_line_b=1000):
    splitter = LineSplitter(max_line_b)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    rest = splitter.finish()
    return lines + ([rest] if rest is not None else [])


@given(STREAMS, CUTS)
def test_the_lines_are_the_same_however_the_bytes_were_cut(data, places):
    expected = data.split(b"\n")
    assert lines_of(cut(data, places)) == expected[:-1] + ([expected[-1]] if expected[-1] else [])


@given(STREAMS, CUTS)
def test_lines_joined_by_line_feeds_are_the_original_bytes(data, places):
    splitter = LineSplitter(1000)
    lines = [line for piece in cut(data, places) for line in splitter.feed(piece)]
    assert b"".join(line + b"\n" for line in lines) + (splitter.finish() or b"") == data


@given(STREAMS, CUTS, st.integers(0, 6))
def test_a_line_is_refused_if_and_only_if_it_is_longer_than_the_limit_however_it_was_cut(data, places, limit):
    too_long = any(len(line) > limit for line in data.split(b"\n"))
    expected = pytest.raises(UpstreamFault) if too_long else contextlib.nullcontext()
    with expected:
        lines_of(cut(data, places), limit)


def test_a_carriage_return_stays_part_of_its_line():
    assert LineSplitter(10).feed(b"a\r\nb\r\n") == [b"a\r", b"b\r"]


def test_no_bytes_complete_no_line():
    splitter = LineSplitter(10)
    assert splitter.feed(b"") == []
    assert splitter.finish() is None


def test_finish_gives_the_open_line_once():
    splitter = LineSplitter(10)
    assert splitter.feed(b"a\nb") == [b"a"]
    assert splitter.finish() == b"b"
    assert splitter.finish() is None


def test_after_finish_a_line_may_be_as_long_as_before():
    splitter = LineSplitter(4)
    splitter.feed(b"abc")
    splitter.finish()
    assert splitter.feed(b"abcd\n") == [b"abcd"]


def test_after_finish_nothing_of_the_line_before_is_counted():
    splitter = LineSplitter(4)
    splitter.feed(b"abc")
    splitter.finish()
    assert splitter.feed(b"abcd") == []


def test_a_refusal_gives_the_lines_before_and_says_what_is_allowed():
    with pytest.raises(LineTooLong, match="of 5 bytes or more fits no message; the limit is 4") as caught:
        LineSplitter(4).feed(b"abcd\nabcde\nabc\n")
    assert (caught.value.before, caught.value.status) == ([b"abcd"], 502)


def test_an_endless_line_is_refused_before_its_end_comes():
    splitter = LineSplitter(4)
    splitter.feed(b"abcd")
    with pytest.raises(UpstreamFault, match="5 bytes"):
        splitter.feed(b"e")


def test_the_pieces_of_an_open_line_are_kept_and_not_copied():
    # Copying what is held at each piece would make a line of n pieces cost n² bytes.
    splitter = LineSplitter(10_000)
    pieces = [bytes([65 + index % 26]) * 3 for index in range(500)]
    for piece in pieces:
        splitter.feed(piece)
    assert all(held is piece for held, piece in zip(splitter._held, pieces, strict=True))
    assert splitter.feed(b"\n") == [b"".join(pieces)]


@given(STREAMS, CUTS, st.integers(0, 6))
def test_the_lines_before_one_too_long_and_what_follows_are_the_same_however_it_was_cut(data, places, limit):
    splitter, lines, rest = LineSplitter(limit), [], []
    for piece in cut(data, places):
        if rest:
            rest.append(piece)
            continue
        try:
            lines += splitter.feed(piece)
        except LineTooLong as fault:
            lines += fault.before
            rest.append(splitter.finish())
    whole = data.split(b"\n")
    assert lines == list(itertools.takewhile(lambda line: len(line) <= limit, whole[:-1]))
    if rest:
        assert b"".join([*(line + b"\n" for line in lines), *rest]) == data


@pytest.mark.parametrize("data", [b"a\nabcde\nb", b"a\nabcde", b"abcde\na"])
def test_a_long_line_is_refused_wherever_it_stands_in_what_was_fed(data):
    with pytest.raises(UpstreamFault) as caught:
        LineSplitter(4).feed(data)
    assert caught.value.code == "line_too_long"
    assert caught.value.detail.startswith("a line of 5 bytes or more")
