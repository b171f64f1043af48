"""docs/farm-troubleshooting.md says what is so: no flag or check is missing, and what it quotes is said."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from farm.doctor import cli, limits, paper
from farm.doctor.containers import Container, Docker
from farm.doctor.examination import Asked, Facts, examine
from farm.doctor.front import Front
from farm.doctor.graphics import Card, Graphics
from farm.doctor.ollamas import Binary
from farm.doctor.servers import Answer, Kind, Listener, Loaded, Serve, Servers, Unit
from farm.doctor.software import Choice, Engine, Packages
from farm.doctor.storage import Folder, Storage
from farm.doctor.surroundings import Surroundings
from farm.doctor.trial import Trial
from wire.finding import Finding
from wire.ollamahole import SAFE_VERSION

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "farm-troubleshooting.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([a-z][a-z-]*)` \| (`.+?`) \| ", PAGE, re.MULTILINE)
QUOTES = [(check, quote) for check, cell in ROWS for quote in re.findall(r"`([^`]+)`", cell)]
GB = 10**9
ASKED = Asked(8080, 11434, model="gemma3:4b")
MINE = Folder("/m", there=True, readable=True, writable=True)


def _checks() -> set[str]:
    """First arguments of whatever makes a finding."""
    found = set()
    for path in (ROOT / "farm" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if named and node.func.id in {"ok", "note", "trouble", "as_needed"}:
                found |= {str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant)}
    return found


def _machines() -> Iterator[Facts]:
    """Machines that have between them all that the page tells of."""
    yield Facts(ASKED, packages=Packages("3.12.3", ("aiohttp", "psutil")), choice=Choice(""))
    yield Facts(ASKED, choice=Choice("", blind=True))
    for words, member in (
        ("Cannot connect", False),
        ("permission denied", False),
        ("permission denied", True),
    ):
        yield Facts(ASKED, docker=Docker(there=True, trouble=words, member=member))
    yield Facts(ASKED, docker=Docker(there=True, snap=True))
    yield Facts(ASKED, docker=Docker(there=True, elsewhere="ssh"), graphics=Graphics(cards=(Card("0", "x"),)))
    for words in ("libgomp", "signal 4 ended it; is it made for this processor?"):
        yield Facts(ASKED, engine=Engine(there=True, trouble=words))
    yield Facts(
        ASKED,
        storage=Storage(replace(MINE, readable=False), others=(Folder("/s", there=None),), free=GB * 2 // 5),
    )
    yield Facts(ASKED, storage=Storage(replace(MINE, writable=False)))
    yield Facts(
        ASKED,
        storage=Storage(MINE, models={"gemma3:4b": 9 * GB}),
        surroundings=Surroundings(
            proxies=("HTTP_PROXY",), ollama_host="0.0.0.0", available=GB, memory=8 * GB
        ),
    )
    yield from _with_servers()
    yield from _with_gpus()
    yield from _with_farms()


def _with_servers() -> Iterator[Facts]:
    ollama = Answer("http://127.0.0.1:11434", 11434, Kind.OLLAMA, "0.24.0")
    nginx, open_ollama = Listener("127.0.0.1", 8080, 912, "nginx"), Listener("::", 11434, 7, "ollama")
    yield Facts(
        ASKED,
        unit=Unit("active", 7),
        binary=Binary("/bin/ollama", "0.9.0"),
        servers=Servers((open_ollama, nginx), answers=(ollama, Answer("", 8080, Kind.OTHER))),
    )
    box = Container("box", "x", running=True, ports=(("127.0.0.1", 11434, 11434),), farm="11434")
    yield Facts(ASKED, containers=(box,), unit=Unit("failed"), servers=Servers(orphans=(("ollama", 7),)))
    hung = Listener("127.0.0.1", 11434, 912, "ollama")
    front = Answer("", 8080, Kind.FARM, health={})
    everywhere = Listener("0.0.0.0", 8080)
    yield Facts(ASKED, unit=Unit("activating"), servers=Servers((hung, everywhere), answers=(front,)))
    yield Facts(ASKED, servers=Servers((Listener("127.0.0.1", 8080),)))
    swapped = Answer("http://127.0.0.1:8080", 8080, Kind.OLLAMA, "0.24.0")
    yield Facts(
        ASKED, servers=Servers((Listener("127.0.0.1", 8080, 7, "ollama"),), (Serve(7, {}),), (swapped,))
    )


def _with_gpus() -> Iterator[Facts]:
    busy = Card("0", "NVIDIA RTX A5000", 24564, 9000, (("python3", 41, 15000),))
    card = Graphics(cards=(busy,))
    cold = Answer("http://127.0.0.1:11434", 11434, Kind.OLLAMA, "0.24.0")
    cpu, part = replace(cold, loaded=(Loaded("a", 9, 0),)), replace(cold, loaded=(Loaded("a", 100, 62),))
    for answer in (cold, cpu, part):
        yield Facts(ASKED, graphics=card, servers=Servers(answers=(answer,)))
    box = Container("box", "ollama/ollama", running=True, ports=(("127.0.0.1", 11434, 11434),))
    yield Facts(ASKED, graphics=card, containers=(box,), servers=Servers(answers=(cpu,)))
    yield Facts(ASKED, graphics=card, docker=Docker(there=True))
    for words in (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        "Failed to initialize NVML: Driver/library version mismatch",
        f"/usr/bin/nvidia-smi did not answer within {limits.COMMAND_S:.0f} s",
    ):
        yield Facts(ASKED, graphics=Graphics(smi=True, smi_trouble=words))
    yield Facts(ASKED, graphics=Graphics(vendors=frozenset({"nvidia", "amd"})))
    yield Facts(ASKED, graphics=Graphics(kfd=True, jetson="6"))
    yield Facts(ASKED, graphics=Graphics())


def _with_farms() -> Iterator[Facts]:
    url = "http://127.0.0.1:8080"
    down, hangs = {"url": "a", "phase": "down", "error": "it ended"}, {"url": "b", "phase": "hangs"}
    again = {"url": "c", "phase": "ready", "up": True, "restarts": 3}
    ready = {"status": "ready", "waiting": 3, "warm": {"gemma3:4b": False}, "backends": [down, hangs, again]}
    starting = {"status": "starting", "doing": "pulling gemma3:4b: 43 %"}
    told = [Front(url, health) for health in (ready, starting, {"status": "down"}, {"status": "degraded"})]
    yield Facts(ASKED, fronts=(*told, Front(url, trouble="Connection refused")))
    together, pairs, rows = [(0, 9)] * 4, [(0, 1), (0, 1), (2, 3), (2, 3)], [(0, 1), (1, 2), (2, 3), (3, 4)]
    for spans in (together, pairs, rows):
        yield Facts(ASKED, trial=Trial(url, "a", 4, spans=tuple(spans), load_s=1))
    yield Facts(ASKED, trial=Trial(url, "a", 4, errors=("cut", "cut"), load_s=1))
    yield Facts(ASKED, trial=Trial(url, "a", 4, errors=("no such model",)))


SAID: list[Finding] = [finding for facts in _machines() for finding in examine(facts)]


@pytest.mark.parametrize("check", sorted(_checks()))
def test_every_check_stands_there(check: str) -> None:
    assert f"| `{check}` |" in PAGE


def test_no_other_check_stands_there() -> None:
    assert {check for check, _ in ROWS} <= _checks()


@pytest.mark.parametrize(("check", "quote"), QUOTES)
def test_what_is_quoted_is_said(check: str, quote: str) -> None:
    pattern = ".*".join(re.escape(part) for part in quote.split("…"))
    texts = [one.text.replace("`", "") for one in SAID if one.check == check]
    assert any(re.search(pattern, text) for text in texts), texts


@pytest.mark.parametrize("action", [one for one in cli.parser()._actions if one.dest != "help"])
def test_every_flag_stands_there(action: argparse.Action) -> None:
    flag = action.option_strings[0]
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `--")]
    (row,) = [cells for cells in rows if f"`{flag}`" in cells[0]]
    assert action.default in {None, False} or str(action.default) in row[1]


def test_numbers_stand_there() -> None:
    assert f"each of at most {limits.TRY_TOKENS} tokens" in PAGE
    assert f'"schema": "{paper.SCHEMA}"' in PAGE
    assert ".".join(map(str, SAFE_VERSION)) in PAGE
