"""Who may ask what: the table of Ollama's routes, hostile places, headers, TLS."""

from __future__ import annotations

import base64
import json
import string
import urllib.parse
from typing import Any

import pytest
import requests
import urllib3
from hostile_places import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from relay.events import StreamMode
from relay.policy import METHODS, Policy, UpstreamRequest
from relay.rights import Rights
from wire import limits
from wire.errors import PeerFault
from wire.headers import HOP_BY_HOP, SET_BY_US
from wire.origin import Origin

NO_STREAM = StreamMode(wanted=False, lines=False)
HOME = Origin.parse("http://127.0.0.1:8080")
POLICY = Policy({"ollama": HOME})
ADMIN = Policy({"ollama": HOME}, allow_admin=frozenset({"ollama"}))
BASED = Policy({"ollama": Origin.parse("http://127.0.0.1:8080/base")}, allow_admin=frozenset({"ollama"}))


def judge(policy: Policy = POLICY, **req: Any) -> UpstreamRequest:
    return policy.judge(req, NO_STREAM)


def attempt(policy: Policy = POLICY, **req: Any) -> UpstreamRequest | PeerFault:
    """What may be sent, or why not; any other exception is a bug."""
    try:
        return judge(policy, **req)
    except PeerFault as fault:
        refusal = fault
    assert refusal.status == {"bad_request": 400, "denied": 403}[refusal.code]
    assert refusal.detail.isprintable()
    assert len(refusal.detail) < 300
    return refusal


def code(policy: Policy = POLICY, **req: Any) -> str:
    result = attempt(policy, **req)
    return result.code if isinstance(result, PeerFault) else "ok"


# -- peers ----------------------------------------------------------------------------------


def test_an_empty_list_of_peers_means_anyone():
    assert POLICY.knows(b"a" * 32)
    listed = Policy({"ollama": HOME}, allow_peers=frozenset({b"a" * 32}))
    assert listed.knows(b"a" * 32)
    assert not listed.knows(b"b" * 32)


# -- routes ---------------------------------------------------------------------------------

ROUTES = {
    "/": "read",
    "/api/version": "read",
    "/api/tags": "read",
    "/api/ps": "read",
    "/_health": "read",
    "/models": "read",
    "/v1/models": "read",
    "/v1/models/smollm2:135m": "read",
    "/v1/models/library/smollm2": "read",
    "/api/show": "infer",
    "/api/generate": "infer",
    "/api/chat": "infer",
    "/api/embed": "infer",
    "/api/embeddings": "infer",
    "/v1/chat/completions": "infer",
    "/v1/completions": "infer",
    "/v1/embeddings": "infer",
    "/v1/responses": "infer",
    "/v1/messages": "infer",
    # all others of Ollama's route table
    "/api/status": "no",
    "/v1/audio/transcriptions": "no",
    "/api/pull": "no",
    "/api/push": "no",
    "/api/create": "no",
    "/api/delete": "no",
    "/api/copy": "no",
    "/api/blobs/sha256:0123": "no",
    "/api/me": "no",
    "/api/signout": "no",
    "/api/user/keys/k": "no",
    "/api/experimental/web_search": "no",
    "/api/experimental/web_fetch": "no",
    "/api/experimental/model-recommendations": "no",
    "/v1/images/generations": "no",
    # none of its routes
    "/api": "no",
    "/v1": "no",
    "/v1/modelsx": "no",
    "/api/chat/x": "no",
    "/api/tagsx": "no",
    "/API/TAGS": "no",
    "/api/generate;x": "no",
    "/metrics": "no",
    "/_engine": "no",
}
ALLOWED = {"read": {"GET", "HEAD"}, "infer": {"POST"}, "no": set()}


def test_the_default_allows_exactly_reading_and_inference():
    for path, kind in ROUTES.items():
        allowed = {method for method in METHODS if code(path=path, method=method) == "ok"}
        assert allowed == ALLOWED[kind], path
        refused = {code(path=path, method=method) for method in METHODS - allowed}
        assert refused == {"denied"}, path
        assert {code(ADMIN, path=path, method=method) for method in METHODS} == {"ok"}, path


@pytest.mark.parametrize(
    "path",
    [
        "/api/%70ull",
        "/%61pi/pull",
        "/api/pull/",
        "/api/pull?x=/api/tags",
        "/api/pull%3f/api/tags",
        "/api%2fpull",
        "/api/pu%6cl?",
        "/api/%2570ull",
        "/api/tags%2f..%2fpull",
        "/api/tags/../pull",
        "/v1/models/../../api/pull",
        "/v1/models/%2e%2e/%2e%2e/api/pull",
        "/v1/models/.%2e/x",
        "/v1/models/..;/..;a=b/api/pull",
        "/v1/models/%2e%2e%3b/x",
        "/v1/models//x",
        "/v1/models/%5c..",
    ],
)
def test_a_denied_route_stays_denied_in_other_spellings(path):
    for method in ("GET", "POST"):
        assert code(path=path, method=method) in {"denied", "bad_request"}


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("/api/%74ags", "/api/tags"),
        ("/api/tags/", "/api/tags"),
        ("/api/tags?a=b&c=%2e%2e//", "/api/tags"),
        ("/?x", "/"),
    ],
)
def test_an_allowed_route_in_other_spellings_goes_out_as_it_came(path, bare):
    request = judge(path=path)
    assert (request.path, request.url) == (bare, f"http://127.0.0.1:8080{path}")


@pytest.mark.parametrize("method", ["get", "Get", "GET", None])
def test_methods_are_read_in_any_case_and_default_to_get(method):
    assert judge(path="/api/tags", method=method).method == "GET"


@pytest.mark.parametrize(
    "method",
    ["OPTIONS", "CONNECT", "TRACE", "PURGE", "", "GET ", "GET\r\nX: y", "\x1b[2J", "ſ" * 99, 5, [], True],
)
def test_other_methods_are_refused(method):
    assert code(ADMIN, path="/api/tags", method=method) == "bad_request"


def test_admin_is_allowed_per_service():
    policy = Policy({"a": HOME, "b": HOME}, allow_admin=frozenset({"b"}))
    assert code(policy, service="a", path="/api/pull", method="POST", json={}) == "denied"
    assert code(policy, service="b", path="/api/pull", method="POST", json={}) == "ok"


def test_a_denial_names_the_setting_that_would_allow_it():
    with pytest.raises(PeerFault, match=r"DELETE /api/delete .*RELAY_ALLOW_ADMIN=ollama"):
        judge(path="/api/delete?name=x", method="DELETE")


# -- models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path, kind in ROUTES.items() if kind == "infer"])
def test_cloud_models_are_denied_on_every_inference_route_however_the_body_is_given(path):
    raw = b'{"Model":"gpt-oss:120b-CLOUD"}'
    bodies: list[dict[str, Any]] = [
        {"json": json.loads(raw)},
        {"data": raw.decode()},
        {"data": json.loads(raw)},
        {"body_b64": base64.b64encode(raw).decode()},
    ]
    for body in bodies:
        assert code(path=path, method="POST", **body) == "denied"
        assert code(ADMIN, path=path, method="POST", **body) == "ok"


@pytest.mark.parametrize("name", ["Content-Encoding", "content-ENCODING"])
def test_a_body_that_was_judged_is_not_unpacked_into_another(name):
    req = {"path": "/api/chat", "method": "POST", "json": {"model": "m"}, "headers": {name: "deflate"}}
    assert set(judge(**req).headers) == {"Content-Type"}
    assert judge(ADMIN, **req).headers[name] == "deflate"


@pytest.mark.parametrize(
    "name", ["gpt-oss:cloud", "gpt-oss%3Acloud", "gpt-oss:120b-cloud", "gpt-oss:%20CLOUD", "a/b:cloud"]
)
def test_cloud_models_are_denied_in_a_path_too(name):
    assert code(path=f"/v1/models/{name}") == "denied"
    assert code(ADMIN, path=f"/v1/models/{name}") == "ok"


def test_an_inference_body_must_be_one_json_object():
    assert code(path="/api/chat", method="POST", data="model=x") == "bad_request"
    assert code(path="/api/chat", method="POST", body_b64="KLUv/QA=") == "bad_request"
    assert code(path="/api/chat", method="POST") == "ok"
    assert code(path="/api/chat", method="POST", json={"model": "smollm2:135m"}) == "ok"


# -- where ----------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [None, "ollama", "ollama_farm", "llm"])
@pytest.mark.parametrize("name", ["ollama", "ollama_farm", "llm"])
def test_the_aliases_of_the_default_service_all_mean_the_one_that_is_there(service, name):
    policy = Policy({name: HOME, "other": Origin.parse("http://10.0.0.1:1")})
    assert judge(policy, service=service, path="/api/tags").service == name


def test_a_service_of_its_own_name_wins_over_the_alias():
    other = Origin.parse("http://10.0.0.1:1")
    policy = Policy({"ollama": HOME, "llm": other})
    assert judge(policy, service="llm").url == "http://10.0.0.1:1/"
    assert judge(policy, service="ollama_farm").url == "http://127.0.0.1:8080/"


@pytest.mark.parametrize(
    "service", ["", "Ollama", "x", "127.0.0.1", "ollama ", "\x1b[2J" * 40, 5, [], {}, True]
)
def test_unknown_services_are_refused(service):
    assert code(service=service) == "bad_request"


def test_an_unknown_service_is_told_the_known_ones():
    policy = Policy({"b": HOME, "a": HOME})
    with pytest.raises(PeerFault, match="'ollama' is not configured here; known: a, b"):
        judge(policy)


def test_a_url_on_a_target_is_that_service_and_path():
    policy = Policy({"x": Origin.parse("http://10.0.0.1:1"), "ollama": HOME})
    for url in (
        "http://127.0.0.1:8080/api/tags?a=1",
        "HTTP://127.0.0.1:8080/api/tags?a=1",
        "http://127.0.0.1:8080/api/tags?a=1#fragment",
    ):
        request = judge(policy, url=url, service="nonsense", path=5)
        assert (request.service, request.url) == ("ollama", "http://127.0.0.1:8080/api/tags?a=1")
    assert code(policy, url="http://127.0.0.1:8080/api/pull", method="POST") == "denied"


def test_default_ports_are_the_same_origin():
    policy = Policy({"a": Origin.parse("https://gpu.example")})
    assert judge(policy, url="https://GPU.example:443").url == "https://gpu.example:443/"
    assert code(policy, url="https://gpu.example:80/") == "denied"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/api/tags",
        "api/tags",
        "127.0.0.1:8080/api/tags",
        "http://127.0.0.1:8081/api/tags",
        "https://127.0.0.1:8080/api/tags",
        "http://127.0.0.1/api/tags",
        "http://localhost:8080/api/tags",
        "http://169.254.169.254/latest/meta-data",
        "http://user@127.0.0.1:8080/api/tags",
        "http://@127.0.0.1:8080/api/tags",
        "http://[::1]:8080/",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "file:///etc/passwd",
    ],
)
def test_a_url_elsewhere_is_denied(url):
    assert code(ADMIN, url=url) == "denied"


@pytest.mark.parametrize("url", [5, [], {}, True])
def test_a_url_that_is_no_text_is_refused(url):
    assert code(url=url) == "bad_request"


def test_a_target_with_a_prefix_is_not_left():
    policy = Policy(
        {"ollama": Origin.parse("http://127.0.0.1:8080/base/")}, allow_admin=frozenset({"ollama"})
    )
    assert judge(policy, path="/api/tags").url == "http://127.0.0.1:8080/base/api/tags"
    assert judge(policy, url="http://127.0.0.1:8080/base").url == "http://127.0.0.1:8080/base/"
    assert judge(policy, url="http://127.0.0.1:8080/base/x?y").url == "http://127.0.0.1:8080/base/x?y"
    for url in ("/", "/bas", "/based", "/base/../x", "/base/%2e%2e/x", "/base//x", "/BASE/x"):
        assert code(policy, url=f"http://127.0.0.1:8080{url}") in {"denied", "bad_request"}


def origins(url: str) -> set[tuple[str | None, str | None, int | None]]:
    """Where three parsers, and the library that will dial, think that a URL leads."""
    prepared = requests.Request("GET", url).prepare().url
    plain = [urllib.parse.urlsplit(text) for text in (url, prepared)]
    strict = [urllib3.util.parse_url(text) for text in (url, prepared)]
    found = {(parts.scheme, parts.hostname, parts.port) for parts in plain}
    return found | {(parts.scheme, parts.hostname, parts.port) for parts in strict}


def test_there_are_enough_hostile_places():
    assert len(set(HOSTILE)) == len(HOSTILE) >= 80


@pytest.mark.parametrize("part", range(6))
def test_no_place_leaves_the_target(part):
    for place in HOSTILE[part::6]:
        assert_on_target(place)


def assert_on_target(place: str) -> None:
    on_target = {"url": f"http://127.0.0.1:8080{place}"}
    for policy, prefix in ((ADMIN, ""), (BASED, "/base")):
        for req in ({"path": place}, {"url": place}, {"service": place}, on_target):
            result = attempt(policy, **req)
            if isinstance(result, PeerFault):
                continue
            url = result.url
            assert origins(url) == {("http", "127.0.0.1", 8080)}
            assert urllib3.util.parse_url(url).path.startswith(f"{prefix}/")
            assert url.isascii()
            assert not any(char in url for char in "\r\n\t\0 #\\")


PATH_PARTS = st.sampled_from(
    [
        "/",
        "//",
        "\\",
        "@",
        ":",
        "..",
        ".",
        "%2e",
        "%2f",
        "%5c",
        "%25",
        "#",
        "?",
        "[",
        "]",
        "a",
        "http",
        "\t",
        "é",
        "evil",
    ]
)


@given(st.lists(PATH_PARTS, max_size=8).map("".join))
def test_no_combination_leaves_the_target_either(place):
    for req in ({"path": place}, {"path": f"/{place}"}, {"url": f"http://127.0.0.1:8080{place}"}):
        result = attempt(ADMIN, **req)
        if isinstance(result, UpstreamRequest):
            assert origins(result.url) == {("http", "127.0.0.1", 8080)}


# -- headers --------------------------------------------------------------------------------


def test_headers_of_a_peer_pass_but_for_those_that_we_set():
    given_headers = {
        "X-API-Key": "k",
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "X-Number": 5,
        "X-Padded": " v\t",
        "X-Empty": "",
        "Host": "evil.example",
        "content-LENGTH": "0",
        "Transfer-Encoding": "chunked",
        "Connection": "close, X-Hop",
        "X-Hop": "dropped",
        "TE": "trailers",
        "Expect": "100-continue",
        "Origin": "http://evil.example",
        "Referer": "http://evil.example",
        "Cookie": "a=b",
        "Accept-Encoding": "gzip",
        "X-Relay-Stream": "lines",
        "X-Original-URL": "/api/pull",
        "X-Rewrite-URL": "/api/pull",
        "X-HTTP-Method-Override": "DELETE",
        "X-Forwarded-For": "127.0.0.1",
        "Forwarded": "for=127.0.0.1",
    }
    assert judge(headers=given_headers).headers == {
        "X-API-Key": "k",
        "Authorization": "Bearer t",
        "Accept": "application/json",
        "X-Number": "5",
        "X-Padded": "v",
        "X-Empty": "",
    }


@pytest.mark.parametrize("headers", [None, {}])
def test_no_headers_are_no_headers(headers):
    assert judge(headers=headers).headers == {}


@pytest.mark.parametrize(
    "headers",
    [
        [1],
        "X: y",
        5,
        True,
        {"": "v"},
        {"X Y": "v"},
        {"X:": "v"},
        {"X\r\nY": "v"},
        {"É": "v"},
        {"\ud800": "v"},
        {"X": "a\r\nY: b"},
        {"X": "a\r\n folded"},
        {"X": "a\nb"},
        {"X": "a\rb"},
        {"X": "a\0b"},
        {"X": "a\x01b"},
        {"X": "a\x0bb"},
        {"X": "a\x7fb"},
        {"X": "é"},
        {"X": "\ud800"},
        {"X": None},
        {"X": True},
        {"X": ["a"]},
        {"X": {}},
        {"X": "v" * (limits.HEADER_VALUE_MAX + 1)},
        {"Host": "a\r\nY: b"},
        {f"X-{number}": "v" for number in range(limits.HEADERS_MAX + 1)},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers):
    assert code(headers=headers) == "bad_request"


TOKEN = set("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
NAMES = st.sampled_from(
    ["Host", "host", "Content-Length", "TE", "Connection", "X-A", "X-B", "A\r\nB", "A B", "A:", ""]
)
VALUES = st.sampled_from(
    ["v", " v ", "", "a\r\nX: y", "a\n b", "\0", "\t", "é", "chunked", "X-A", "5, X-B", 5, None]
)


@given(st.dictionaries(NAMES | st.text(max_size=4), VALUES | st.text(max_size=5), max_size=6))
def test_whatever_headers_pass_cannot_start_a_second_one(headers):
    result = attempt(headers=headers)
    if isinstance(result, PeerFault):
        assert result.code == "bad_request"
        return
    kept = result.headers
    named = {
        token.strip().lower()
        for name, value in headers.items()
        if name.lower() == "connection"
        for token in str(value).split(",")
    }
    for name, value in kept.items():
        assert name
        assert set(name) <= TOKEN
        assert name.lower() not in HOP_BY_HOP | SET_BY_US | named
        assert value == value.strip()
        assert all(char == "\t" or 32 <= ord(char) < 127 for char in value)


@pytest.mark.parametrize(
    ("req", "kept"),
    [
        ({"json": {}}, {"Content-Type": "application/json"}),
        ({"data": {}}, {"Content-Type": "application/json"}),
        ({"json": {}, "headers": {"content-type": "text/x"}}, {"content-type": "text/x"}),
        ({"data": "{}"}, {}),
        ({"body_b64": "e30="}, {}),
        ({}, {}),
    ],
)
def test_json_of_ours_says_so_unless_the_peer_does(req, kept):
    assert judge(path="/api/chat", method="POST", **req).headers == kept


# -- the rest -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("req", "default", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"verify": None}, True, True),
        ({"verify": True}, False, True),
        ({"verify": "true"}, False, True),
        ({"verify": 1}, False, True),
        ({"verify": False}, True, False),
        ({"verify": 0}, True, False),
        ({"verify": "false"}, True, False),
        ({"verify": "0"}, True, False),
        ({"insecure_tls": True}, True, False),
        ({"insecure_tls": "1"}, True, False),
        ({"insecure_tls": False}, True, True),
        ({"insecure_tls": "false"}, True, True),
        ({"insecure_tls": True, "verify": True}, True, False),
        ({"verify": " OFF "}, True, False),
        ({"insecure_tls": None}, True, True),
    ],
)
def test_unverified_tls_is_honoured(req, default, expected):
    policy = Policy({"ollama": HOME}, verify_default=default)
    assert judge(policy, **req).verify is expected


@pytest.mark.parametrize("name", ["verify", "insecure_tls"])
@pytest.mark.parametrize("value", ["", "maybe", "falsch", 2, -1, 0.0, [], {}, [False], "\ud800"])
def test_what_is_neither_yes_nor_no_switches_no_check_off(name, value):
    for default in (True, False):
        assert code(Policy({"ollama": HOME}, verify_default=default), **{name: value}) == "bad_request"


@pytest.mark.parametrize("req", [{"verify": False}, {"verify": "off"}, {"insecure_tls": True}])
def test_unverified_tls_is_refused_where_the_owner_says_so(req):
    policy = Policy({"ollama": HOME}, allow_unverified=False)
    with pytest.raises(PeerFault, match="RELAY_ALLOW_UNVERIFIED=0") as caught:
        judge(policy, **req)
    assert caught.value.code == "denied"
    assert judge(policy, verify=True).verify is True
    assert judge(policy).verify is True


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1, 0.001),
        (30_000, 30.0),
        (0.5, 0.0005),
        (10**18, 86_400.0),
        (float("inf"), 86_400.0),
        pytest.param(10**400, 86_400.0, id="huge"),
    ],
)
def test_timeouts_are_milliseconds_up_to_a_day(value, seconds):
    assert judge(timeout_ms=value).timeout_s == seconds


def test_the_default_timeout_is_the_contracts():
    assert judge().timeout_s == 30.0


@pytest.mark.parametrize("value", [0, -1, True, False, "5", [], {}, float("nan"), -float("inf")])
def test_other_timeouts_are_refused(value):
    assert code(timeout_ms=value) == "bad_request"


def test_a_whole_request():
    request = POLICY.judge(
        {"path": "/api/chat?x=1", "method": "post", "json": {"model": "m"}, "timeout_ms": 1500},
        StreamMode(wanted=True, lines=True),
    )
    assert request == UpstreamRequest(
        service="ollama",
        method="POST",
        url="http://127.0.0.1:8080/api/chat?x=1",
        path="/api/chat",
        headers={"Content-Type": "application/json"},
        body=b'{"model":"m"}',
        timeout_s=1.5,
        verify=True,
        stream=StreamMode(wanted=True, lines=True),
    )


def test_timeout_ms_null_is_the_default_as_null_is_in_every_other_field():
    policy = Policy({"ollama": Origin.parse("http://127.0.0.1:8080")})
    request = policy.judge({"path": "/api/tags", "timeout_ms": None}, StreamMode(wanted=False, lines=False))
    assert request.timeout_s == limits.TIMEOUT_MS / 1000


def test_the_only_target_under_another_name_is_asked_for_the_path_that_was_meant() -> None:
    policy = Policy(targets={"llm": Origin.parse("http://h:1")})
    assert judge(policy, service="ollama", path="/api/tags").url == "http://h:1/api/tags"
    assert judge(policy, service="ollama").url == "http://h:1/"


def test_no_batch_at_all_may_be_asked() -> None:
    assert judge(path="/", batch_ms=0).batch_ms == 0
    assert judge(path="/", batch_ms=limits.BATCH_MS).batch_ms == limits.BATCH_MS


def test_the_option_that_is_refused_is_named() -> None:
    policy = Policy({"ollama": HOME})
    body = {"model": "m", "options": {"num_ctx": 8}, "keep_alive": 1}
    with pytest.raises(PeerFault, match="keep_alive loads a model anew or pins it"):
        policy.judge(
            {"path": "/api/chat", "method": "POST", "json": body}, NO_STREAM, None, Rights(options=False)
        )
