"""The relay's doctor on paper: what he says of what was seen, and the remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from relay.doctor import network, paper, secretfile, upstreams
from relay.doctor.examination import Door, Facts, Port, examine
from relay.doctor.finding import Level, fail, ok, place, warn
from relay.doctor.network import Way
from relay.doctor.secretfile import SecretFile
from relay.doctor.upstreams import HEALTH, TAGS, VERSION, Said, Target
from wire.errors import SettingsFault
from wire.finding import Finding, foreign, listed
from wire.limits import WORDS_MAX
from wire.origin import Origin

FILE = SecretFile(".env")
GOOD = Way("http://a:30003", 12.0, "1.2.3.4:30002", ahead_s=0.2)
BAD = Way("https://b/api?key=s3cret", trouble="Connection refused")
FARM = {"status": "ready", "slots": 4, "backends": [], "models": ["m"], "version": "0.24.0"}


def levels(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.level.value) for one in findings]


def target(*, url: str = "http://127.0.0.1:11434", admin: bool = False, **said: Said) -> Target:
    paths = {"health": HEALTH, "version": VERSION, "tags": TAGS}
    origin = Origin.parse(url)
    return Target("ollama", origin, {paths[name]: one for name, one in said.items()}, admin=admin)


def ollama(version: str = "0.24.0", models: Any = ("m", "n"), **more: Any) -> Target:
    names = [{"name": name} for name in models] if isinstance(models, (tuple, list)) else models
    return target(
        health=Said(404), version=Said(200, {"version": version}), tags=Said(200, {"models": names}), **more
    )


def test_all_is_well() -> None:
    facts = Facts(FILE, door=Door("relay.ab"), seeds=[GOOD], targets=[ollama()])
    told = examine(facts)
    assert levels(told) == [
        (check, "ok")
        for check in ("settings", "env-file", "address", "peers", "seed", "clock", "target", "port")
    ]
    assert told[2].text == "relay.ab"
    assert paper.text(told).endswith("\nall is well\n")
    assert paper.exit_code(told) == 0


# -- settings and the file with the seed -------------------------------------------------------------------


def test_each_mistake_by_its_key_and_where_to_mend_it() -> None:
    faults = [SettingsFault("RELAY_WORKERS", "must be 1"), SettingsFault("RELAY_QUEUE", "must be 2")]
    told = examine(Facts(FILE, faults, outside={"RELAY_QUEUE"}))[:2]
    assert [(one.check, one.level, one.text) for one in told] == [
        ("settings", Level.FAIL, "RELAY_WORKERS: must be 1"),
        ("settings", Level.FAIL, "RELAY_QUEUE: must be 2"),
    ]
    assert told[0].remedy.startswith("mend it in .env")
    assert told[1].remedy.startswith("the environment sets it and wins over .env: unset RELAY_QUEUE")


def test_what_the_environment_sets_is_named() -> None:
    (first, *_) = examine(Facts(FILE, outside={"RELAY_QUEUE", "NKN_RPC_ADDR"}))
    assert first.text == "no mistake in the settings; the environment sets NKN_RPC_ADDR, RELAY_QUEUE"
    assert examine(Facts(FILE))[0].text == "no mistake in the settings"


@pytest.mark.parametrize(
    ("change", "level", "text", "remedy"),
    [
        ({}, "ok", "yours alone (mode 0600)", ""),
        ({"mode": 0o640}, "fail", "others can read .env (mode 0640)", "chmod 600 .env"),
        ({"mode": 0o604}, "fail", "others can read", "chmod 600 .env"),
        ({"mode": 0o666}, "fail", "others can write to .env", "chmod 600 .env"),
        ({"mine": False}, "fail", "belongs to somebody else", "sudo chown $USER .env && chmod 600 .env"),
        ({"leads_to": "/x"}, "warn", "symbolic link to /x", "cp --remove-destination /x .env"),
        ({"there": False}, "warn", ".env is not there", "python -m relay makes it"),
        ({"there": False, "can_be_made": False}, "fail", "cannot be made", "--env-file"),
        ({"there": False, "leads_to": "/x"}, "fail", "/x, which is not there", "rm .env"),
        ({"plain": False}, "fail", "is no file", "mv .env .env.old"),
        ({"trouble": "Permission denied"}, "fail", "looked at: Permission denied", "ls -ld .env"),
    ],
)
def test_the_file_with_the_seed(change: dict[str, Any], level: str, text: str, remedy: str) -> None:
    [told] = secretfile.judged(replace(FILE, **change))
    assert (told.check, told.level.value) == ("env-file", level)
    assert text in told.text
    assert remedy in told.remedy


def test_more_than_one_thing_can_be_wrong_with_it() -> None:
    told = secretfile.judged(replace(FILE, mine=False, mode=0o644, leads_to="/x"))
    assert [one.level.value for one in told] == ["fail", "fail", "warn"]


@pytest.mark.parametrize(
    ("door", "level", "text"),
    [
        (Door(), "ok", "whoever knows the address may read and infer"),
        (Door(everybody=False, admin=("ollama",)), "ok", "only keys that you named may ask"),
        (Door(admin=("a", "b")), "warn", "may pull, delete and push at a, b"),
    ],
)
def test_who_may_come_in(door: Door, level: str, text: str) -> None:
    [told] = [one for one in examine(Facts(FILE, door=door)) if one.check == "peers"]
    assert told.level.value == level
    assert text in told.text
    assert ("RELAY_ALLOW_PEERS" in told.remedy) is (level == "warn")
    assert "address" not in {one.check for one in examine(Facts(FILE, door=door))}


# -- the network and the clock -----------------------------------------------------------------------------


def test_a_seed_that_fails_beside_one_that_works_is_a_warning() -> None:
    told = network.seeds([GOOD, BAD])
    assert levels(told) == [("seed", "ok"), ("seed", "warn")]
    assert told[0].text == "http://a:30003 answers in 12 ms: node 1.2.3.4:30002"
    assert told[1].text == "https://b/api: Connection refused"
    assert "asks the others" in told[1].remedy
    assert levels(network.seeds([Way("http://c:1")])) == [("seed", "fail")], "it was not asked"
    assert levels(network.seeds([Way("http://c:1", 5.0, trouble="it said nonsense")])) == [("seed", "fail")]


def test_when_none_works_each_is_a_failure_unless_a_bridge_does() -> None:
    busy = replace(BAD, trouble="HTTP 429")
    told = network.seeds([BAD, busy])
    assert levels(told) == [("seed", "fail")] * 2
    assert [one.text for one in told] == ["https://b/api: Connection refused", "https://b/api: HTTP 429"]
    assert "curl -m 3 https://b/api shows" in told[0].remedy
    assert "wait a minute" in told[1].remedy
    assert levels(network.seeds([BAD], [Way("ws://c:1", 3.0)])) == [("seed", "warn")]


def test_bridges() -> None:
    told = network.bridges([Way("ws://c:1", 3.4), Way("ws://d:1", trouble="no answer within 3 s")])
    assert levels(told) == [("bridge", "ok"), ("bridge", "warn")]
    assert told[0].text == "ws://c:1 takes connections after 3 ms"
    assert told[1].text == "ws://d:1: no answer within 3 s"
    assert "NKN_BRIDGE_SEED_WS" in told[1].remedy


@pytest.mark.parametrize(
    ("offsets", "level", "text"),
    [
        ([], "warn", "could not be compared"),
        ([None], "warn", "could not be compared"),
        ([0.4, -0.6], "ok", "agrees"),
        ([59.0], "ok", "agrees"),
        ([60.0], "ok", "agrees"),
        ([61.0], "warn", "61 s ahead"),
        ([120.0], "warn", "2 minutes ahead"),
        ([7199.0], "warn", "120 minutes ahead"),
        ([7200.0], "warn", "2 hours ahead"),
        ([172_799.0], "warn", "48 hours ahead"),
        ([172_800.0], "warn", "2 days ahead"),
        ([-200.0], "warn", "3 minutes behind"),
        ([-8000.0], "warn", "2 hours behind"),
        ([400_000.0], "warn", "5 days ahead"),
        ([90_000.0, 0.0, 1.0], "ok", "agrees"),  # one seed that lies
    ],
)
def test_the_clock(offsets: list[float | None], level: str, text: str) -> None:
    [told] = network.clock([replace(GOOD, ahead_s=offset) for offset in offsets])
    assert (told.check, told.level.value) == ("clock", level)
    assert text in told.text
    assert bool(told.remedy) is (level == "warn")


# -- targets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "level", "text", "remedy"),
    [
        (ollama(), "ok", "is Ollama 0.24.0 with m, n", ""),
        (ollama(models=()), "warn", "without a model", "ollama pull"),
        (ollama(models=("a:cloud", "b:1-cloud")), "warn", "cloud models only", "ollama pull"),
        (ollama(models=("a:cloud", "b")), "ok", "with b", ""),
        (ollama(models=None), "warn", "does not list its models", "curl http://127.0.0.1:11434/api/tags"),
        (target(health=Said(200, FARM)), "ok", "is a farm, ready; in memory: m", ""),
        (target(health=Said(200, FARM | {"models": 5})), "ok", "is a farm, ready", ""),
        (target(health=Said(503, FARM | {"status": "starting"})), "warn", "that is starting", "wait"),
        (
            target(health=Said(503, FARM | {"status": "starting", "doing": "pulling m"})),
            "warn", "starting: pulling m", "wait",
        ),
        (target(health=Said(503, FARM | {"status": "down"})), "fail", "none of whose", "farm doctor"),
        (target(health=Said(200, FARM | {"status": "odd"})), "warn", "says it is odd", "farm doctor"),
        (target(version=Said(200, {"version": 5})), "ok", "(HTTP 200); it is neither", ""),
        (target(tags=Said(404, None)), "ok", "(HTTP 404); it is neither", ""),
        (target(health=Said(500)), "warn", "answers HTTP 500", "its own log"),
        (target(version=Said(trouble="Connection refused")), "fail", "Connection refused", "ollama serve"),
        (target(), "fail", "no answer within 3 s", "ollama serve"),
        (
            target(url="http://[::1]:8080"), "fail", "does not answer",
            'python -m farm --model MODEL starts the farm; RELAY_TARGETS={"ollama":"http://127.0.0.1:11434"}',
        ),
        (
            target(tags=Said(200, [1]), version=Said(200, {"version": "1.0.0"})),
            "warn", "does not list", "curl",
        ),
        (target(health=Said(200, {name: FARM[name] for name in ("status", "slots", "backends")})),
         "ok", "is a farm, ready", ""),
        (target(url="http://gpu:8080/x"), "fail", "(http://gpu:8080/x)", "http://gpu:8080/x/api/version"),
        (
            target(url="https://gpu", version=Said(trouble="[SSL: CERTIFICATE_VERIFY_FAILED]")),
            "fail", "CERTIFICATE", "RELAY_VERIFY_DEFAULT=0",
        ),
    ],
)  # fmt: skip
def test_a_target(one: Target, level: str, text: str, remedy: str) -> None:
    [told] = upstreams.judged(one)
    assert (told.check, told.level.value) == ("target", level)
    assert text in told.text
    assert told.text.startswith(f"ollama ({one.origin}) ")
    assert remedy in told.remedy
    assert bool(told.remedy) is (level != "ok")


def test_a_farm_that_says_little_is_told_of_in_few_words() -> None:
    starting = target(health=Said(503, FARM | {"status": "starting"}))
    ready = target(health=Said(200, FARM | {"models": []}))
    said = [upstreams.judged(one)[0].text.partition(") ")[2] for one in (starting, ready)]
    assert said == ["is a farm that is starting", "is a farm, ready"]


@pytest.mark.parametrize(
    ("version", "unsafe"),
    [("0.17.0", True), ("v0.9.1", True), ("0.17.1", False), ("0.17.1-rc1", False), ("0.0.0", False),
     ("mine", False)],
)  # fmt: skip
def test_versions_with_a_known_hole(version: str, unsafe: bool) -> None:
    told = upstreams.judged(ollama(version))[1:]
    assert levels(told) == ([("version", "warn")] if unsafe else [])
    worse = upstreams.judged(ollama(version, admin=True))[1:]
    assert levels(worse) == ([("version", "fail")] if unsafe else [])
    for one in (*told, *worse):
        assert f"(http://127.0.0.1:11434) is {version}, which is unsafe" in one.text
        assert ("RELAY_ALLOW_ADMIN" in one.text) is (one in worse)
        assert "install.sh" in one.remedy


def test_a_farm_tells_the_version_behind_it() -> None:
    old = target(health=Said(200, FARM | {"version": "0.9.0"}))
    assert levels(upstreams.judged(old)) == [("target", "ok"), ("version", "warn")]
    assert levels(upstreams.judged(target(health=Said(200, FARM | {"version": None})))) == [("target", "ok")]


@pytest.mark.parametrize(
    ("port", "level", "text"),
    [
        (Port(), "ok", "nothing is listened on"),
        (Port(9464), "ok", "port 9464 is free"),
        (Port(9464, "Address already in use", relay=True), "ok", "a relay shows its figures already"),
        (Port(9464, "Address already in use"), "fail", "cannot be had: Address already in use"),
    ],
)
def test_the_port(port: Port, level: str, text: str) -> None:
    told = examine(Facts(FILE, port=port))[-1]
    assert (told.check, told.level.value) == ("port", level)
    assert text in told.text
    assert ("another number" in told.remedy) is (level == "fail")


# -- paper -------------------------------------------------------------------------------------------------

SOME = [ok("a", "fine"), warn("bb", "hm", "do x"), fail("c", "bad", "do y"), fail("c", "worse", "do z")]


def test_text() -> None:
    assert paper.text(SOME) == (
        "ok    a  fine\nwarn  bb hm\n         → do x\nfail  c  bad\n         → do y\n"
        "fail  c  worse\n         → do z\n2 failures and 1 warning\n"
    )
    assert paper.text([]) == "all is well\n"
    assert paper.text(SOME[:2]).endswith("\n1 warning\n")


def test_json_and_exit_code() -> None:
    told = json.loads(paper.as_json(SOME))
    assert (told["schema"], told["failures"], told["warnings"]) == (paper.SCHEMA, 2, 1)
    assert told["findings"][1] == {"check": "bb", "level": "warn", "text": "hm", "remedy": "do x"}
    assert (paper.exit_code(SOME), paper.exit_code(SOME[:2])) == (1, 0)
    assert paper.exit_code([one for one in SOME if one.level is SOME[-1].level][:1]) == 1


def test_words_from_elsewhere_are_tame() -> None:
    assert foreign(" a\x1b[2Jb\n") == "a�[2Jb"
    assert len(foreign("x" * 1000)) == WORDS_MAX + 1
    assert listed(map(str, range(9))) == "0, 1, 2, 3, 4, 5 and 3 more"
    assert listed(map(str, range(7))) == "0, 1, 2, 3, 4, 5 and 1 more"
    assert place("https://h:1/p?key=s3cret#x") == "https://h:1/p"
    hostile = ollama("0.24.0\x1b[2J", models=("m\n\x07",))
    text = paper.text(upstreams.judged(hostile))
    assert not set("\x1b\x07") & set(text)
