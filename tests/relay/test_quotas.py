"""How much a key may still ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.quotas import Quotas
from relay.rights import Quota, Rights
from wire import limits
from wire.errors import PeerFault

THREE = Rights(requests=Quota(3, 60, "3/minute"))
TOKENS = Rights(tokens=Quota(1000, 3600, "1000/hour"))


def refused(quotas: Quotas, key: bytes, rights: Rights, now: float) -> PeerFault:
    with pytest.raises(PeerFault) as caught:
        quotas.check(key, rights, now)
    return caught.value


def test_whoever_has_none_asks_as_often_as_he_likes() -> None:
    quotas = Quotas()
    for _ in range(1000):
        quotas.check(b"a", Rights(), 0.0)
        quotas.begun(b"a", Rights())
        quotas.used(b"a", Rights(), 10**9)
    assert len(quotas._accounts) == 0


def test_requests_come_back_evenly() -> None:
    quotas = Quotas()
    for _ in range(3):
        quotas.check(b"a", THREE, 0.0)
        quotas.begun(b"a", THREE)
    fault = refused(quotas, b"a", THREE, 0.0)
    assert (fault.code, fault.scope) == ("busy", "requests")
    assert fault.retry_after_ms == pytest.approx(20_000, abs=2)
    assert "3/minute" in fault.detail
    quotas.check(b"b", THREE, 0.0)
    refused(quotas, b"a", THREE, 19.9)
    quotas.check(b"a", THREE, 20.1)


def test_an_answer_may_use_up_more_tokens_than_are_left_and_then_time_must_pass() -> None:
    quotas = Quotas()
    quotas.check(b"a", TOKENS, 0.0)
    quotas.used(b"a", TOKENS, 1500)
    fault = refused(quotas, b"a", TOKENS, 0.0)
    assert (fault.code, fault.scope) == ("busy", "tokens")
    assert fault.retry_after_ms == pytest.approx(1_800_000, abs=10)
    quotas.check(b"a", TOKENS, 1801.0)


def test_a_quota_that_the_owner_changed_begins_anew() -> None:
    quotas = Quotas()
    for _ in range(3):
        quotas.check(b"a", THREE, 0.0)
        quotas.begun(b"a", THREE)
    more = replace(THREE, requests=Quota(4, 60, "4/minute"))
    quotas.check(b"a", more, 0.0)


def test_only_so_many_keys_are_remembered() -> None:
    quotas = Quotas()
    for number in range(limits.SHARED_KEYS_MAX + 10):
        quotas.check(number.to_bytes(4, "big"), THREE, 0.0)
    assert len(quotas._accounts) == limits.SHARED_KEYS_MAX
