import urllib.parse

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from wire import limits
from wire.errors import PeerFault
from wire.origin import Origin, bare_path, clean_path

BASES = [
    "http://127.0.0.1:8080",
    "https://gpu.example/ollama",
    "http://[::1]:11434/a/b",
    "http://host",
]
TRICKS = st.lists(
    st.sampled_from(
        ["/", "//", "\\", "@", ":", "?", "#", ".", "..", "%2e", "%2f", "%5c", "%252e", "%00", "%0d%0a", "a",
         "evil.example", ":80", "[", "]", " ", "\n", "\t", "é", "\u2215", "%e0", "http:", "&", "=", ";"]
    )
).map("".join)  # fmt: skip


@given(st.sampled_from(BASES), st.one_of(TRICKS, TRICKS.map("/".__add__), st.text(max_size=30)))
@example("http://host", "//evil.example/x")
@example("http://host", "@evil.example/x")
@example("http://host", "/%2e%2e/x")
def test_a_joined_path_never_leaves_the_host_or_its_prefix(base, path):
    origin = Origin.parse(base)
    try:
        url = origin.join(path)
    except PeerFault:
        return
    parts, other = urllib.parse.urlsplit(url), parse_url(url)
    assert (parts.scheme, parts.hostname, parts.port) == (origin.scheme, origin.host, origin.port)
    assert (other.scheme, (other.host or "").strip("[]"), other.port) == (
        origin.scheme,
        origin.host,
        origin.port,
    )
    assert parts.username is None
    assert other.auth is None
    assert not parts.fragment
    # What a client or server would make of dot segments stays below the prefix too.
    assert urllib.parse.urlsplit(urllib.parse.urljoin(url, url)).path.startswith(f"{origin.prefix}/")
    assert (other.path or "").startswith(f"{origin.prefix}/")
    assert "/../" not in urllib.parse.unquote(parts.path) + "/"
    assert not set(url) & set("\r\n\0 \\")


@given(st.sampled_from(BASES), st.text("abc/._-~", max_size=10), st.text("abc=&?/%20", max_size=10))
def test_a_path_that_was_joined_is_found_again(base, path, query):
    origin = Origin.parse(base)
    whole = f"/{path}?{query}" if query else f"/{path}"
    try:
        url = origin.join(whole)
    except PeerFault:
        assume(False)
    assert origin.path_of(url) == whole


@pytest.mark.parametrize(
    "path",
    ["", "x", "*", "http://evil/", "//evil/x", "/a//b", "/../x", "/a/..", "/./a", "/%2e%2e/a",
     "/%252e%252e/a", "/a%2f%2e%2e%2fb", "/a%2f%2fb", "/a%5cb", "/a%255cb", "/%0d%0aHost:x", "/%00", "/a b",
     "/a#b", "/a\\b", "/é", "/a\r\n", "/a?b#c", "/a?b c", "/a?é", '/a?"', "/[x]", "/..;/a",
     "/a/.;b=c", "/%2e%2e%3bx/a"],
)  # fmt: skip
def test_a_path_that_leaves_the_target_or_its_line_is_refused(path):
    with pytest.raises(PeerFault) as caught:
        clean_path(path)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/chat",
        "/api/tags?",
        "/v1/x?a=1&b=[2]&c=/d?e",
        "/a/b/",
        "/a%20b",
        "/~u/!$&'()*+,;=:@",
        "/a/...",
        "/a;b/..c;d",
        "/%zz",
    ],
)
def test_a_clean_path_is_returned_unchanged(path):
    assert clean_path(path) is path


def test_a_path_that_is_encoded_over_and_over_is_refused_and_not_decoded_to_the_end(monkeypatch):
    # 8 KiB of it would be decoded 4,000 times, 50 ms of the loop.
    rounds = []
    unquote = urllib.parse.unquote
    monkeypatch.setattr(
        "wire.origin.urllib.parse.unquote", lambda *a, **k: rounds.append(1) or unquote(*a, **k)
    )
    with pytest.raises(PeerFault, match="over and over"):
        clean_path("/%" + "25" * 4000)
    assert len(rounds) < 10


def test_a_path_is_judged_as_a_server_sees_it_that_decodes_three_times():
    assert clean_path("/%252541") == "/%252541"
    with pytest.raises(PeerFault, match="segment"):
        clean_path("/%25252e%25252e/x")
    with pytest.raises(PeerFault, match="over and over"):
        clean_path("/%25252541")


def test_a_paths_length_is_bounded():
    assert clean_path("/" + "a" * (limits.PATH_MAX - 1))
    with pytest.raises(PeerFault, match="longer than"):
        clean_path("/" + "a" * limits.PATH_MAX)


@pytest.mark.parametrize(
    ("url", "shown", "authority"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("HTTP://Example.COM/", "http://example.com:80", "example.com:80"),
        ("https://example.com/base/", "https://example.com:443/base", "example.com:443"),
        ("http://h/X/", "http://h:80/X", "h:80"),
        ("http://[::1]:9/x//", "http://[::1]:9/x", "[::1]:9"),
    ],
)
def test_a_base_url_is_read_and_shown_in_full(url, shown, authority):
    origin = Origin.parse(url)
    assert str(origin) == shown
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url",
    [None, 5, "", "localhost:8080", "ftp://x/", "http://", "http:///x", "http://u@h/", "http://u:p@h/", "http://h/?q",
     "http://h/#f", "http://h:99999/", "http://h:x/", "http://a b/", "http://h\\@evil/", "http://h\n/", "http://[::1",
     "http://\ud800/", "http://h/\x85", "http://h/\\x"],
)  # fmt: skip
def test_a_base_url_that_cannot_be_one_is_refused_with_a_sentence(url):
    with pytest.raises(ValueError, match=r"."):
        Origin.parse(url)


@given(st.text(max_size=30))
def test_any_text_is_a_base_url_or_a_value_error(text):
    try:
        origin = Origin.parse(text)
    except ValueError:
        return
    assert origin.scheme in {"http", "https"}
    assert 0 <= origin.port <= 65535


@given(st.sampled_from(BASES), st.one_of(st.text(max_size=30), TRICKS.map("http://host".__add__)))
def test_asking_for_the_path_of_a_strange_url_never_raises(base, url):
    path = Origin.parse(base).path_of(url)
    assert path is None or path.startswith("/")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h/p/x?y", "/x?y"),
        ("http://h:80/p", "/"),
        ("HTTP://H/p/", "/"),
        ("http://h/px", None),
        ("http://h/", None),
        ("https://h/p/x", None),
        ("http://h:81/p/x", None),
        ("http://u@h/p/x", None),
        ("http://evil/p/x", None),
        ("http://[::1/p", None),
        ("http://h:bad/p", None),
        ("/p/x", None),
    ],
)
def test_only_urls_of_the_target_have_a_path_on_it(url, path):
    assert Origin.parse("http://h/p").path_of(url) == path


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("/api/chat/", "/api/chat"),
        ("/X/", "/X"),
        ("/api%2Fchat?x=/", "/api/chat"),
        ("/", "/"),
        ("/?x", "/"),
        ("/a%252e", "/a%2e"),
    ],
)
def test_the_bare_path_is_what_the_upstream_will_route(path, bare):
    assert bare_path(path) == bare
