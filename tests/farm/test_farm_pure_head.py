"""farm.head: what a request asks for, and heads that can be read in more than one way."""

from __future__ import annotations

import pytest

from farm.head import BadHeadError, read

HOST = (b"Host", b"localhost:8080")


@pytest.mark.parametrize(
    ("url", "path", "query", "target"),
    [
        (b"/", "/", b"", b"/"),
        (b"/api/tags?x=1&y=%2F", "/api/tags", b"x=1&y=%2F", b"/api/tags?x=1&y=%2F"),
        (b"/api/tags?", "/api/tags", b"", b"/api/tags?"),
        (b"/api/%67enerate", "/api/generate", b"", b"/api/%67enerate"),
        (b"/api%2Fgenerate", "/api/generate", b"", b"/api%2Fgenerate"),
        (b"/%ff%zz", "/\ufffd%zz", b"", b"/%ff%zz"),
        (b"/a?b?c", "/a", b"b?c", b"/a?b?c"),
        (b"//evil/x", "//evil/x", b"", b"//evil/x"),
        (b"*", "*", b"", b"*"),
        (b"http://h/a/b?c", "/a/b", b"c", b"/a/b?c"),
        (b"http://h:80", "/", b"", b"/"),
        (b"HTTPS://h?x", "/", b"x", b"/?x"),
        (b"http://[::1]:8080/x", "/x", b"", b"/x"),
    ],
)
def test_targets(url: bytes, path: str, query: bytes, target: bytes) -> None:
    head = read("GET", "1.1", url, [HOST])
    assert (head.path, head.query, head.target) == (path, query, target)
    assert head.raw_path == target.partition(b"?")[0]


@pytest.mark.parametrize(
    "url",
    [b"", b"x", b"x/y", b"h:80", b"http://", b"http:///x", b"http://u@h/x", b"http://h:x", b"a:x", b"/#"],
)
def test_what_is_no_target(url: bytes) -> None:
    with pytest.raises(BadHeadError):
        read("GET", "1.1", url, [HOST])


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"/x", b"localhost:8080"),
        (b"http://evil.test:1/x", b"evil.test:1"),
        (b"http://[::1]", b"[::1]"),
    ],
)
def test_the_authority_in_the_line_counts_more_than_host(url: bytes, host: bytes) -> None:
    assert read("GET", "1.1", url, [(b"A", b"1"), HOST]).headers == [(b"a", b"1"), (b"host", host)]


@pytest.mark.parametrize(
    ("version", "headers", "why"),
    [
        ("1.1", [], "Host"),
        ("1.1", [HOST, HOST], "Host"),
        ("1.0", [HOST, HOST], "Host"),
        ("0.9", [HOST], "HTTP/0.9"),
        ("2.0", [HOST], "HTTP/2.0"),
        ("1.1", [HOST, (b"Transfer-Encoding", b"gzip, chunked")], "chunked"),
        ("1.1", [HOST, (b"Transfer-Encoding", b"")], "chunked"),
        ("1.1", [HOST, (b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"chunked")], "chunked"),
        ("1.0", [HOST, (b"Transfer-Encoding", b"chunked")], "chunked"),
    ],
)
def test_heads_that_are_not_served(version: str, headers: list[tuple[bytes, bytes]], why: str) -> None:
    with pytest.raises(BadHeadError, match=why):
        read("GET", version, b"/", headers)


def test_an_old_client_may_name_no_host() -> None:
    assert read("GET", "1.0", b"/", []).headers == []


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        ([], []),
        ([(b"Content-Length", b"0")], []),
        ([(b"Content-Length", b"000 ")], []),
        ([(b"Content-Length", b"12 \t")], [(b"content-length", b"12")]),
        ([(b"Transfer-Encoding", b"Chunked")], [(b"transfer-encoding", b"Chunked")]),
    ],
)
def test_where_the_body_ends(headers: list[tuple[bytes, bytes]], framing: list[tuple[bytes, bytes]]) -> None:
    assert read("POST", "1.1", b"/", [HOST, *headers]).framing == framing


@pytest.mark.parametrize(
    ("version", "value", "expects"),
    [("1.1", b"100-continue", True), ("1.1", b"100-Continue", True), ("1.1", b"x", False),
     ("1.0", b"100-continue", False)],
)  # fmt: skip
def test_who_waits_for_100(version: str, value: bytes, expects: bool) -> None:
    assert read("POST", version, b"/", [HOST, (b"Expect", value)]).expects is expects
