"""An upstream's answer in pieces of any size: whole or not, and never read in two ways."""

from __future__ import annotations

import http.client
import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.answer import AnswerReader, HeadError
from wire import limits
from wire.chunked import ChunkError

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b'{"response":"a"}\n{"done":true}\n'
SIZED = OK + b"Content-Type: x/y\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    + OK
    + b"Transfer-Encoding: chunked\r\nX-A:  b \r\n\r\n5\r\n"
    + BODY[:5]
    + b"\r\n%x;e=1\r\n" % (len(BODY) - 5)
    + BODY[5:]
    + b"\r\n0\r\nX-T: y\r\n\r\n"
)
OPEN = b"HTTP/1.0 200 OK\n\n" + BODY


def read(pieces: list[bytes], method: str = "POST", *, closed: bool = True) -> tuple[AnswerReader, bytes]:
    reader, body = AnswerReader(method), b""
    for piece in pieces:
        assert not reader.done
        body += reader.feed(piece)
    if reader.status:
        body += reader.feed(b"")
    if closed:
        reader.end()
    return reader, body


@pytest.mark.parametrize("raw", [SIZED, CHUNKED, OPEN])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_it_is_the_same_however_it_was_cut(raw, size):
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    reader, body = read(pieces)
    assert (reader.status, body, reader.done) == (200, BODY, True)
    assert reader.headers == read([raw])[0].headers


@given(st.lists(st.integers(1, 40), max_size=20), st.sampled_from([SIZED, CHUNKED]))
def test_a_strict_client_reads_the_same(cuts, raw):
    marks = [0, *itertools.accumulate(cuts), len(raw)]
    pieces = [raw[a:b] for a, b in itertools.pairwise(marks) if raw[a:b]]
    reader, body = read(pieces, closed=False)
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    other.send(h11.EndOfMessage())
    other.receive_data(raw)
    events: list[h11.Event] = []
    while not isinstance(event := other.next_event(), h11.EndOfMessage):
        events.append(event)
    head = next(event for event in events if isinstance(event, h11.Response))
    assert body == b"".join(event.data for event in events if isinstance(event, h11.Data))
    told = [(name.lower().encode(), value.strip().encode()) for name, value in reader.headers]
    assert (reader.status, told) == (head.status_code, list(head.headers))
    assert reader.done


def test_the_head_comes_before_the_body_that_came_with_it():
    reader = AnswerReader("GET")
    assert reader.feed(SIZED[:20]) == b""
    assert not reader.behind
    assert reader.feed(SIZED[20:]) == b""
    assert (reader.status, reader.behind, reader.done) == (200, True, False)
    assert reader.feed(b"") == BODY
    assert (reader.behind, reader.done) == (False, True)


def test_what_stands_behind_the_answer_is_not_its_own():
    assert read([SIZED + b"HTTP/1.1 500 No\r\n\r\n"])[1] == BODY
    assert read([CHUNKED + b"junk"])[1] == BODY


@pytest.mark.parametrize(
    ("raw", "method"),
    [
        (OK + b"Content-Length: 5\r\n\r\n", "HEAD"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", "GET"),
        (OK + b"Content-Length: 0\r\n\r\n", "GET"),
    ],
)
def test_an_answer_without_a_body_ends_with_its_head(raw, method):
    reader = AnswerReader(method)
    assert (reader.feed(raw), reader.done, reader.behind) == (b"", True, False)


@pytest.mark.parametrize("at", range(1, len(CHUNKED)))
def test_whatever_is_cut_off_is_missed(at):
    with pytest.raises(http.client.HTTPException):
        read([CHUNKED[:at]])


def test_an_end_is_an_end_only_where_no_length_was_told():
    assert read([OPEN[:-3]])[1] == BODY[:-3]
    with pytest.raises(http.client.IncompleteRead) as missed:
        read([SIZED[:-3]])
    assert missed.value.expected == 3
    with pytest.raises(http.client.RemoteDisconnected):
        AnswerReader("GET").end()


@pytest.mark.parametrize(
    ("raw", "error", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.2", http.client.BadStatusLine, "SSH"),
        (b"\x16", http.client.BadStatusLine, None),
        (b" HTTP/1.1 200 OK\r\n\r\n", http.client.BadStatusLine, "HTTP"),
        (b"HTTP/1.1 x OK\r\n\r\n", http.client.BadStatusLine, "x OK"),
        (OK + b"no colon\r\n\r\n", HeadError, "a header line is none"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", HeadError, "its transfer encoding is unknown"),
        (b"HTTP/1.1 101 Go\r\n\r\n", HeadError, "it changes to another protocol"),
        (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", HeadError, "it has two lengths"),
        (OK + b"Content-Length: 3, 4\r\n\r\n", HeadError, "it has two lengths"),
        (OK + b"X: " + b"y" * limits.ANSWER_HEAD_MAX_B, http.client.LineTooLong, None),
        (OK + b"X: y\r\n" * 30_000, http.client.HTTPException, "more than 100 headers"),
        (OK + (b"X: " + b"y" * 60_000 + b"\r\n") * 3, HeadError, "it is too long"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", ChunkError, "no number"),
    ],
)
def test_what_is_no_http_is_found_before_anything_more_comes(raw, error, why):
    with pytest.raises(error, match=why):
        read([raw], closed=False)


def test_a_head_that_is_cut_off_says_first_what_else_is_wrong_with_it():
    with pytest.raises(http.client.BadStatusLine):
        read([b"HTTP/1.1 x"])
    with pytest.raises(http.client.IncompleteRead):
        read([b"HTTP/1.1 200 OK\r\nX: y"])


def test_a_body_of_one_byte_is_waited_for():
    reader, body = read([OK + b"Content-Length: 1\r\n\r\n"], closed=False)
    assert (reader.done, body) == (False, b"")
    assert (reader.feed(b"x"), reader.done) == (b"x", True)


def test_identity_is_no_coding():
    assert read([OK + b"Transfer-Encoding: identity\r\n\r\nhi"])[1] == b"hi"


def test_two_lengths_that_are_the_same_are_one():
    assert read([OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"])[1] == b"hi"


def test_a_head_within_its_bound_is_waited_for():
    reader = AnswerReader("GET")
    head = OK + (b"X: " + b"y" * 60_000 + b"\r\n") * 2
    assert len(head) < limits.ANSWER_HEAD_MAX_B
    for at in range(0, len(head), 1000):
        reader.feed(head[at : at + 1000])
    assert reader.status == 0
    reader.feed(b"\r\n")
    assert (reader.status, len(reader.headers)) == (200, 2)


def test_folded_lines_are_one_line():
    reader, _ = read([OK + b"X: a \r\n \t b\r\n\tc\r\nContent-Length: 0\r\n\r\n"])
    assert reader.headers[0] == ("X", "a b c")


@given(st.binary(max_size=300), st.sampled_from([b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"]))
def test_strange_bytes_are_refused_or_read_and_nothing_else(data, begin):
    try:
        read([begin + data])
    except (http.client.HTTPException, ChunkError):
        return
