"""The pages say what is so: links lead somewhere, and no event, code, path, key or command is missing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from relay import asking, events, policy, settings
from relay.exchange import Phase
from relay.station import FEATURES
from wire import errors

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", sorted(events.ALIASES))
def test_every_event_stands_in_the_protocol(name: str) -> None:
    assert f"`{name}`" in PROTOCOL


def test_every_code_on_the_wire_stands_in_the_protocol() -> None:
    source = inspect.getsource(errors)
    codes = set(re.findall(r'(?:PeerFault|UpstreamFault|OurFault)\(\s*"([a-z_]+)"', source))
    assert codes > {"denied", "busy", "upstream_broke"}
    assert {code for code in codes if f"| `{code}` |" not in PROTOCOL} == set()


@pytest.mark.parametrize("key", settings.KEYS)
def test_every_setting_stands_in_the_protocol(key: str) -> None:
    assert f"| `{key}` |" in PROTOCOL


@pytest.mark.parametrize("path", sorted(policy.READING | policy.INFERENCE))
def test_every_allowed_path_stands_in_the_protocol(path: str) -> None:
    assert f"`{path}`" in PROTOCOL


def test_stream_words_states_and_features_stand_in_the_protocol() -> None:
    listed = re.search(r"\| `stream` \| one of `([a-z0-9 ]+)`", PROTOCOL)
    assert listed is not None
    assert set(listed[1].split()) == events.STREAM_WORDS
    for phase in (Phase.QUEUED, Phase.LOADING, Phase.GENERATING):
        assert f"`{phase.value}`" in PROTOCOL
    for feature in FEATURES:
        assert f"`{feature}`" in PROTOCOL


def test_every_test_that_an_attack_names_is_there() -> None:
    told = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", told):
        assert f"def {name}(" in source, name
    for path in re.findall(r"tests/[\w/]+\.py", told):
        assert (ROOT / path).is_file(), path


def test_every_command_stands_in_the_readme() -> None:
    for command in asking._COMMANDS:
        assert f"relay {command} " in README or f"{command} \\|" in README
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
