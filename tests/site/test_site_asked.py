"""asked: heads are read as sent or refused; nothing between, however the bytes arrive."""

from __future__ import annotations

import bounds
import pytest
from asked import Asked, Refusal, take
from hostile import REQUESTS
from hypothesis import given
from hypothesis import strategies as st

HEAD = (
    b"GET /app.js?v=1 HTTP/1.1\r\nHost: LOCALHOST:8443\r\nAccept: a\r\naccept:\t b \t\r\n"
    b"Cookie: \xe4\r\nContent-Length: 0\r\n\r\n"
)


def test_a_request_is_read_as_sent() -> None:
    headers = {"host": "LOCALHOST:8443", "accept": "a, b", "cookie": "ä", "content-length": "0"}
    asked = Asked("GET", "/app.js?v=1", "localhost", headers)
    assert take(HEAD) == (asked, b"")
    assert asked.path == "/app.js"


def test_what_is_behind_a_head_is_left() -> None:
    found = take(HEAD + HEAD[:30])
    assert found is not None
    assert found[1] == HEAD[:30]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:65535", "::1"),
        ("My-Box.local", "my-box.local"),
    ],
)
def test_hosts(host: str, name: str) -> None:
    found = take(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert found is not None
    assert found[0].host == name


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: keep-alive\r\n", True),
        ("1.1", "Connection: Close\r\n", False),
        ("1.1", "Connection: te, close\r\n", False),
        ("1.1", "Connection: te\r\nConnection: close\r\n", False),
        ("1.1", "Connection: closed\r\n", True),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", False),
    ],
)
def test_whether_the_connection_is_kept(version: str, connection: str, keep: bool) -> None:
    found = take(f"GET / HTTP/{version}\r\nHost: x\r\n{connection}\r\n".encode())
    assert found is not None
    assert found[0].keep is keep


@pytest.mark.parametrize("size", [bounds.HEAD_MAX_B, bounds.HEAD_MAX_B + 1])
def test_the_bound_of_a_head_is_exact(size: int) -> None:
    start = b"GET / HTTP/1.1\r\nHost: x\r\nX: "
    data = start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"
    if size == bounds.HEAD_MAX_B:
        assert take(data) is not None
    else:
        with pytest.raises(Refusal) as refused:
            take(data)
        assert refused.value.status == 431


@pytest.mark.parametrize("count", [bounds.HEADERS_MAX, bounds.HEADERS_MAX + 1])
def test_the_bound_of_headers_is_exact(count: int) -> None:
    data = b"GET / HTTP/1.1\r\n" + b"Host: x\r\n" + b"A: b\r\n" * (count - 1) + b"\r\n"
    if count == bounds.HEADERS_MAX:
        assert take(data) is not None
    else:
        with pytest.raises(Refusal, match="headers"):
            take(data)


def test_a_head_in_single_bytes_says_nothing_until_it_is_whole() -> None:
    assert [take(HEAD[:size]) for size in range(len(HEAD))] == [None] * len(HEAD)


@given(st.sampled_from([row[1] for row in REQUESTS if len(row[1]) < 3000]), st.integers(0, 3000))
def test_no_part_of_an_attack_is_answered_with_more_than_the_whole(request_: bytes, cut: int) -> None:
    """A part is unfinished, refused, or the same request as the whole."""
    try:
        part = take(request_[:cut])
    except Refusal:
        return
    if part is not None:
        whole = take(request_)
        assert whole is not None
        assert whole[0] == part[0]


def taken(data: bytes) -> tuple[Asked, bytes] | int | None:
    try:
        return take(data)
    except Refusal as refusal:
        return refusal.status


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused_or_unfinished(data: bytes) -> None:
    for whole in (data, b"GET / HTTP/1.1\r\n" + data, b"GET / HTTP/1.1\r\nHost: x\r\n" + data + b"\r\n\r\n"):
        found = taken(whole)
        if isinstance(found, int):
            assert found in {400, 414, 431, 505}
        elif found is not None:
            assert whole.endswith(found[1])
            assert set(found[0].target.encode()) <= set(range(0x21, 0x7F))
            assert not any(
                ord(letter) < 32 and letter != "\t" for letter in "".join(found[0].headers.values())
            )
