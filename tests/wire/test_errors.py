import pytest

from wire import errors
from wire.errors import Fault, OurFault, PeerFault, SettingsFault, UpstreamFault

TABLE = [
    (lambda: errors.bad_request("x"), PeerFault, "bad_request", 400, None),
    (lambda: errors.denied("x"), PeerFault, "denied", 403, None),
    (lambda: errors.busy("x", 1500), PeerFault, "busy", 503, 1500),
    (errors.cancelled, PeerFault, "cancelled", 499, None),
    (lambda: errors.replayed("x"), PeerFault, "replayed", 409, None),
    (lambda: errors.upload_incomplete("x"), PeerFault, "upload_incomplete", 408, None),
    (lambda: errors.peer_gone(30.0), PeerFault, "peer_gone", 499, None),
    (lambda: errors.timed_out("x"), UpstreamFault, "timeout", 504, None),
    (lambda: errors.upstream_refused("x"), UpstreamFault, "upstream_refused", 502, None),
    (lambda: errors.upstream_broke("x"), UpstreamFault, "upstream_broke", 502, None),
    (lambda: errors.line_too_long("x"), UpstreamFault, "line_too_long", 502, None),
    (lambda: errors.upstream_status(404), UpstreamFault, "upstream_status", 404, None),
    (lambda: errors.cut(1000), UpstreamFault, "truncated", 502, None),
    (lambda: errors.internal("x"), OurFault, "internal", 500, None),
    (errors.shutdown, OurFault, "shutdown", 503, 10_000),
    (lambda: SettingsFault("RELAY_PORT", "must be a number"), OurFault, "settings", 500, None),
]


@pytest.mark.parametrize(("made", "kind", "code", "status", "retry"), TABLE, ids=[row[2] for row in TABLE])
def test_each_fault_has_its_code_status_and_culprit(made, kind, code, status, retry):
    fault = made()
    assert isinstance(fault, kind)
    assert (fault.code, fault.status, fault.retry_after_ms) == (code, status, retry)


def test_the_three_culprits_have_different_names():
    assert [kind.whose for kind in (Fault, PeerFault, UpstreamFault, OurFault)] == [
        "nobody",
        "peer",
        "upstream",
        "ours",
    ]


def test_a_faults_text_is_its_detail_and_its_repr_begins_with_the_code():
    fault = errors.denied("the path is not allowed")
    assert str(fault) == "the path is not allowed"
    assert repr(fault) == "PeerFault('denied', 'the path is not allowed')"


def test_a_settings_fault_names_its_key():
    fault = SettingsFault("RELAY_WORKERS", "must be at least 1")
    assert fault.key == "RELAY_WORKERS"
    assert fault.detail == "RELAY_WORKERS: must be at least 1"


def test_faults_of_a_default_detail_say_what_happened():
    assert errors.cancelled().detail == "the peer cancelled the request"
    assert errors.shutdown().detail == "the relay is stopping"
    assert errors.peer_gone(30.0).detail == "the peer was silent for 30 s"
    assert errors.upstream_status(404).detail == "the upstream answered 404"
    assert "1000 bytes" in errors.cut(1000).detail


@pytest.mark.parametrize("made", [errors.upstream_refused, errors.internal])
def test_what_happened_is_told_as_it_was_said(made):
    assert made("it said no").detail == "it said no"
