"""The owner's table of peers: what it says, and every mistake by its place."""

from __future__ import annotations

import pytest

from relay.rights import Quota, Register, Rights, parse
from wire.errors import SettingsFault

ANNA, BEN = "ab" * 32, "cd" * 32
SERVICES = frozenset({"ollama", "other"})


def mistakes(text: str) -> list[str]:
    with pytest.raises(ExceptionGroup) as caught:
        parse(text, SERVICES)
    assert all(isinstance(one, SettingsFault) for one in caught.value.exceptions)
    return [one.detail for one in caught.value.exceptions]


def test_without_a_table_all_are_alike() -> None:
    register = Register()
    assert register.of(b"x") == Rights()
    assert Rights().may_use("a")
    assert Rights().may_ask("/b")
    assert Rights().may_run("c")


def test_a_table_without_a_default_leaves_the_others_strangers() -> None:
    register = parse(f'[peers.anna]\nkey = "{ANNA}"', SERVICES)
    assert register.of(bytes.fromhex(ANNA)) == Rights("anna")
    assert register.of(bytes.fromhex(BEN)) is None


def test_everything_that_can_be_said() -> None:
    register = parse(
        f"""
        [default]
        models = ["gemma3:*", "llama3.2"]
        options = false
        requests = "100/hour"
        tokens = "50000/day"

        [peers.anna]
        key = "web.{ANNA}"
        admin = true
        services = ["ollama"]
        paths = ["/api/*"]
        running = 2
        queued = 0
        requests = "1/minute"
        """,
        SERVICES,
    )
    assert register.default == Rights(
        models=("gemma3:*", "llama3.2"),
        options=False,
        requests=Quota(100, 3600, "100/hour"),
        tokens=Quota(50_000, 86_400, "50000/day"),
    )
    assert register.of(bytes.fromhex(ANNA)) == Rights(
        "anna",
        services=("ollama",),
        admin=True,
        paths=("/api/*",),
        running=2,
        queued=0,
        requests=Quota(1, 60, "1/minute"),
    )


@pytest.mark.parametrize(
    ("pattern", "model", "may"),
    [
        ("gemma3:*", "gemma3:4b", True),
        ("gemma3:*", "gemma3", True),
        ("gemma3:*", "gemma30:4b", False),
        ("gemma3", "gemma3", True),
        ("gemma3", "gemma3:latest", False),
        ("gemma3:latest", "gemma3", True),
        ("*", "hf.co/a/b:q4", True),
        ("hf.co/*", "hf.co/a/b", True),
        ("a", "b", False),
        ("*:latest", "gemma3:4b", False),
        ("*:latest", "gemma3", True),
        ("*:latest", "hf.co:5000/a/b", True),
        ("*:latest", "hf.co:5000/a/b:q4", False),
    ],
)
def test_models_are_patterns(pattern: str, model: str, may: bool) -> None:
    assert Rights(models=(pattern,)).may_run(model) is may


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("= 5", "RELAY_POLICY: is no TOML"),
        ("[peer.anna]", "RELAY_POLICY, peer: is neither [default] nor [peers.NAME]"),
        ("peers = 5", "RELAY_POLICY, peers: must hold one table for each peer"),
        ("default = 5", "RELAY_POLICY, default: must be a table, [default]"),
        ("[peers.a]", "RELAY_POLICY, peers.a.key: '' is no NKN address"),
        ("[peers.a]\nkey = 5", "RELAY_POLICY, peers.a.key: '' is no NKN address"),
        ("[default]\nmodels = ['x', 5]", "must be a list of texts"),
        ("[default]\nmodels = ['', 'x']", "must be a list of texts"),
        ("[default]\nrunning = 1025", "must be a whole number from 0 to 1024"),
        ("[default]\nrequests = '1000000000000/day'", 'must be such as "100/hour"'),
        ("peers.a = 5", "RELAY_POLICY, peers.a: must be a table, [peers.a]"),
        ("[default]\nkey = 'x'", "RELAY_POLICY, default.key: is none of services, admin"),
        ("[default]\nmodel = ['x']", "RELAY_POLICY, default.model: is none of"),
        ("[default]\nmodels = 'x'", "RELAY_POLICY, default.models: must be a list of texts"),
        ("[default]\nmodels = ['']", "must be a list of texts"),
        ("[default]\nadmin = 1", "RELAY_POLICY, default.admin: must be true or false"),
        ("[default]\nrunning = -1", "must be a whole number from 0 to 1024"),
        ("[default]\nrunning = true", "must be a whole number"),
        ("[default]\nrequests = 5", 'must be such as "100/hour"'),
        ("[default]\nrequests = '5/week'", "periods are minute, hour, day"),
        ("[default]\nrequests = '0/day'", 'must be such as "100/hour"'),
        ("[default]\nrequests = '٣/day'", 'must be such as "100/hour"'),
        (f"[default]\nrequests = '{'9' * 5000}/day'", "RELAY_POLICY, default.requests"),
        (
            "[default]\nservices = ['olama']",
            "RELAY_POLICY, default.services: 'olama' is not in RELAY_TARGETS",
        ),
    ],
)
def test_every_mistake_is_named_by_its_place(text: str, words: str) -> None:
    assert any(words in detail for detail in mistakes(text)), mistakes(text)


def test_all_mistakes_come_at_once() -> None:
    text = "[default]\nadmin = 1\nfoo = 2\n"
    text += f"[peers.a]\nkey = '{ANNA}'\n[peers.b]\nkey = 'x.{ANNA}'\nrunning = 'x'"
    found = mistakes(text)
    assert len(found) == 4
    assert len(mistakes("[one]\n[two]\n[default]\nadmin = 1")) == 3
    assert any("peers.b: has the key of a" in detail for detail in found)


def test_one_of_several_paths_is_enough() -> None:
    rights = Rights(paths=("/api/*", "/v1/models"))
    assert [rights.may_ask(path) for path in ("/api/chat", "/v1/models", "/v1/x")] == [True, True, False]


def test_the_largest_numbers_that_can_be_said() -> None:
    register = parse("[default]\nrunning = 1024\nrequests = '999999999999/day'", SERVICES)
    assert register.default is not None
    assert register.default.running == 1024
    assert register.default.requests == Quota(999_999_999_999, 86_400, "999999999999/day")
