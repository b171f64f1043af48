"""farm.gate: which pages may talk to the farm; the rule is Ollama's."""

from __future__ import annotations

import pytest

from farm.gate import Verdict, cors_headers, is_local_host, judge, judge_headers, preflight_headers


@pytest.mark.parametrize(
    ("origin", "host", "verdict"),
    [
        (None, "127.0.0.1:8080", Verdict.OWN),
        (None, None, Verdict.OWN),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", Verdict.OWN),
        ("http://localhost:3000", "127.0.0.1:8080", Verdict.ALLOWED),
        ("https://127.0.0.1", "127.0.0.1:8080", Verdict.ALLOWED),
        ("tauri://localhost", "127.0.0.1:8080", Verdict.ALLOWED),
        ("app://x", "127.0.0.1:8080", Verdict.ALLOWED),
        ("http://evil.example", "127.0.0.1:8080", Verdict.FOREIGN),
        ("null", "127.0.0.1:8080", Verdict.FOREIGN),
        ("http://[", "127.0.0.1:8080", Verdict.FOREIGN),
        (None, "evil.example", Verdict.FOREIGN),
    ],
)
def test_a_page_of_somebody_else_and_a_name_made_to_point_here_are_foreign(origin, host, verdict):
    assert judge(origin, host, loopback=True) is verdict


def test_a_farm_that_listens_on_the_network_is_called_by_any_name():
    assert judge(None, "gpu.example", loopback=False) is Verdict.OWN


@pytest.mark.parametrize(
    ("host", "local"),
    [("", True), ("localhost:1", True), ("a.local", True), ("10.0.0.1", True), ("[::1]:8080", True),
     ("0.0.0.0", True), ("8.8.8.8", False), ("evil.example", False)],
)  # fmt: skip
def test_local_hosts(host, local):
    assert is_local_host(host) is local


def test_the_headers_of_a_request_are_judged_alike():
    headers = [(b"origin", b"http://evil.example"), (b"host", b"localhost"), (b"x", b"y")]
    assert judge_headers(headers, loopback=True) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "name", [b"x-forwarded-host", b"x-forwarded-for", b"forwarded", b"x-original-host", b"x-real-ip"]
)
def test_what_a_request_says_of_its_way_is_not_believed(name):
    evil = [(b"host", b"evil.example"), (name, b"localhost")]
    assert judge_headers(evil, loopback=True) is Verdict.FOREIGN
    assert judge_headers([(b"host", b"localhost"), (name, b"evil.example")], loopback=True) is Verdict.OWN


def test_a_page_on_this_machine_may_read_and_ask_before():
    origin = b"http://localhost:3000"
    assert cors_headers(origin)[0] == (b"access-control-allow-origin", origin)
    assert (b"access-control-max-age", b"43200") in preflight_headers(origin)
