"""answers: files, conditions, encodings, and the strict headers on every kind of answer."""

from __future__ import annotations

import gzip
import hashlib
import re

import pytest
from answers import POLICY, STRICT, Site
from asked import take
from keeping import Kept
from places import LIBRARY, LIBRARY_URL, OWN_URLS, PAGE, SCRIPT, Serving
from rawtls import Answer, Line, ask, context, get
from shelf import Item

TAG = f'"{hashlib.sha256(SCRIPT).hexdigest()[:32]}"'
TAG_GZ = TAG[:-1] + '-gz"'
DATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


@pytest.mark.parametrize(
    ("path", "kind", "caching"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/app.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/style.css", "text/css; charset=utf-8", "no-cache"),
        ("/icon.svg", "image/svg+xml", "no-cache"),
        (LIBRARY_URL, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        (
            "/vendor/@scope/styles@2.0.0/all.css",
            "text/css; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        ("/app.js?v=3", "text/javascript; charset=utf-8", "no-cache"),
    ],
)
async def test_every_file_of_the_table(serving: Serving, path: str, kind: str, caching: str) -> None:
    answer, _ = await ask(serving.port, get(path))
    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == caching
    assert "content-encoding" not in answer.headers
    assert_strict(answer)


async def test_the_page_and_a_large_file_come_whole(serving: Serving) -> None:
    async with await Line.open(serving.port, context()) as line:
        assert (await line.ask(get("/"))).body == PAGE
        assert (await line.ask(get(LIBRARY_URL))).body == LIBRARY
        assert (await line.ask(get("/"))).body == PAGE


@pytest.mark.parametrize("path", [*OWN_URLS, LIBRARY_URL, "/missing", "/../x"])
@pytest.mark.parametrize(
    "header", ["Accept: */*", "Accept-Encoding: gzip", f"If-None-Match: {TAG}, *", "If-Match: x"]
)
async def test_head_is_get_without_the_body(serving: Serving, path: str, header: str) -> None:
    async with await Line.open(serving.port, context()) as line:
        got = await line.ask(get(path, header))
        head = await line.ask(get(path, header, method="HEAD"))
        again = await line.ask(get(path, header))  # nothing of a body lies between
    strip = lambda answer: {name: value for name, value in answer.headers.items() if name != "date"}  # noqa: E731
    assert head.body == b""
    assert (head.status, strip(head)) == (got.status, strip(got)) == (again.status, strip(again))
    assert int(got.headers.get("content-length", 0)) == len(got.body)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"If-None-Match: {TAG}", 304),
        (f"If-None-Match: W/{TAG}", 304),
        (f'If-None-Match: "other", {TAG}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "other"', 200),
        (f"If-None-Match: {TAG_GZ}", 200),
        (f"If-None-Match: {TAG[1:-1]}", 200),
        ("If-None-Match:", 200),
        (f"If-Match: {TAG}", 200),
        ("If-Match: *", 200),
        ('If-Match: "other"', 412),
        (f"If-Match: W/{TAG}", 412),
        ("If-Modified-Since: Wed, 21 Oct 2026 07:28:00 GMT", 200),
        ("If-Unmodified-Since: Wed, 21 Oct 2015 07:28:00 GMT", 200),
        ("Range: bytes=0-3", 200),
        ("Range: bytes=5-,2-3,-1", 200),
        (f"Range: bytes=0-3\r\nIf-Range: {TAG}", 200),
        ("Range: bytes=999999-", 200),
        ("Range: lines=1", 200),
        ("Expect: 100-continue", 200),
        ("Upgrade: h2c\r\nConnection: upgrade", 200),
        ("Cookie: a=b\r\nAuthorization: Basic eDp5", 200),
        ("X-Original-URL: /../secret.txt\r\nX-Rewrite-URL: /secret.txt", 200),
        ("X-HTTP-Method-Override: DELETE", 200),
    ],
)
async def test_conditions_ranges_and_what_is_ignored(serving: Serving, header: str, status: int) -> None:
    answer, _ = await ask(serving.port, get("/app.js", header))
    assert answer.status == status
    assert_strict(answer)
    assert "set-cookie" not in answer.headers
    if status == 200:
        assert answer.body == SCRIPT
        assert answer.headers["accept-ranges"] == "none"
    if status == 304:
        assert answer.headers["etag"] == TAG
        assert answer.headers["vary"] == "Accept-Encoding"
        assert not {"content-length", "content-type"} & set(answer.headers)


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5, br", True),
        ("gzip;q=1.000", True),
        ("gzip ; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=2", False),
        ("gzip;q=x", False),
        ("xgzip", False),
        ("br", False),
        ("*", False),
        ("", False),
    ],
)
async def test_gzip_only_for_who_takes_it(serving: Serving, accepted: str, packed: bool) -> None:
    async with await Line.open(serving.port, context()) as line:
        answer = await line.ask(get("/app.js", f"Accept-Encoding: {accepted}"))
        assert (answer.headers.get("content-encoding") == "gzip") is packed
        assert (gzip.decompress(answer.body) if packed else answer.body) == SCRIPT
        assert answer.headers["etag"] == (TAG_GZ if packed else TAG)
        assert answer.headers["vary"] == "Accept-Encoding"
        if packed:
            header = f"If-None-Match: {TAG_GZ}"
            assert (await line.ask(get("/app.js", f"Accept-Encoding: {accepted}", header))).status == 304


async def test_what_gzip_does_not_make_smaller_is_sent_plain(serving: Serving) -> None:
    answer, _ = await ask(serving.port, get("/icon.svg", "Accept-Encoding: gzip"))
    assert answer.body == b"<svg/>"
    assert not {"content-encoding", "vary"} & set(answer.headers)


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:9443", "[::1]", "[::1]:8443"]
)
async def test_own_names_with_any_port(serving: Serving, host: str) -> None:
    # A port forwarded by ssh has another number than ours.
    assert (await ask(serving.port, get("/", host=host)))[0].status == 200


@pytest.mark.parametrize(
    ("names", "host", "own"),
    [
        ("gpu.example.org", "gpu.example.org", True),
        ("gpu.example.org", "GPU.Example.org:8443", True),
        ("gpu.example.org", "a.gpu.example.org", False),
        ("*.example.org", "gpu.example.org", True),
        ("*.example.org", "a.gpu.example.org", False),
        ("*.example.org", "example.org", False),
        ("*.example.org", "gpu.example.org.evil.example", False),
        ("*.example.org", "*.example.org", False),
    ],
)
def test_names_of_the_owners_certificate(names: str, host: str, own: bool) -> None:
    site = Site(
        {"/": Item("text/plain", "no-cache", b"x", "t", None)}, frozenset([names]), strict_transport=True
    )
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    if "*" in host:
        with pytest.raises(Exception, match="Host"):
            take(request)
        return
    found = take(request)
    assert found is not None
    assert site.answer(found[0]).status == (200 if own else 421)


@pytest.mark.parametrize(
    ("host", "told"),
    [("gpu.example.org", True), ("127.0.0.1", False), ("[::1]", False), ("localhost", False)],
)
async def test_strict_transport_is_for_names_of_a_domain_alone(
    folder, kept: Kept, host: str, told: bool
) -> None:
    names = frozenset({"gpu.example.org"})
    async with Serving(folder, kept, names=names, strict_transport=True) as serving:
        for path, status in (("/", 200), ("/missing", 404)):
            answer, _ = await ask(serving.port, get(path, host=host))
            assert answer.status == status
            assert answer.headers.get("strict-transport-security") == ("max-age=15552000" if told else None)


async def test_a_certificate_of_our_own_never_brings_strict_transport(serving: Serving) -> None:
    for request in (get("/"), get("/missing"), get("/", host="evil.example"), b"x\r\n\r\n"):
        answer, _ = await ask(serving.port, request)
        assert "strict-transport-security" not in answer.headers


def test_the_policy_lets_no_text_become_a_script_and_no_frame_hold_us() -> None:
    assert POLICY["default-src"] == "'none'"
    for name, value in POLICY.items():
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "ws:", "blob:", "data:"} & (
            set(value.split()) - ({"data:", "blob:"} if name == "img-src" else set())
        )
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert POLICY[name] == "'none'"
    # What the page needs: nodes and seed servers, a node and a farm of this machine.
    for source in (
        "https:",
        "wss:",
        "http://127.0.0.1:*",
        "http://localhost:*",
        "ws://127.0.0.1:*",
        "ws://localhost:*",
    ):
        assert source in POLICY["connect-src"].split()


def assert_strict(answer: Answer) -> None:
    for name, value in STRICT:
        assert answer.headers[name.lower()] == value
    assert DATE.fullmatch(answer.headers["date"])
    assert "server" not in answer.headers
    assert not any(name.startswith("access-control-") for name in answer.headers)
