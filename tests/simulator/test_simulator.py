"""Worlds: a thousand hold every promise, a seed is one world, those in which one was broken hold it now."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from simulator.__main__ import kept, main
from simulator.world import World, run
from wire import limits

ROOT = Path(__file__).resolve().parents[2]
SHELLS = {
    f"relay.{name}" for name in ("asker", "call", "cli", "peer", "pump", "upstream", "asking", "journal")
}
_DIGESTS = "from simulator.world import run\nfor seed in range(200): print(seed, run(seed).digest)"


def test_a_thousand_worlds_hold_every_promise() -> None:
    for seed in range(1000):
        outcome = run(seed)
        assert outcome.violation is None, f"python -m simulator --seed {seed} --trace: {outcome.violation}"


def test_worlds_in_which_a_promise_was_broken_once_hold_it() -> None:
    assert kept()
    for seed in kept():
        assert run(seed).violation is None, seed


def test_the_same_seed_is_the_same_world_whatever_the_hash_seed() -> None:
    said = []
    for hash_seed in ("0", "4711"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", _DIGESTS], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
    assert len({line.split()[1] for line in said[0].splitlines()}) == 200


SOURCES = sorted((ROOT / "simulator").glob("*.py"))


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_simulator_knows_the_pure_floors_alone(path: Path) -> None:
    for name in _imports(path):
        room = name.partition(".")[0]
        assert room in sys.stdlib_module_names | {"relay", "wire", "simulator"}, name
        module = name if name in SHELLS else name.rpartition(".")[0]
        assert module not in SHELLS, f"{name} is a shell"
        if path.stem != "__main__":
            assert room not in {"time", "asyncio", "threading", "socket", "os", "datetime", "secrets"}, name
    assert path.read_text(encoding="utf-8").count("\n") <= 300


def test_nobody_imports_the_simulator() -> None:
    for path in (path for room in ("wire", "relay", "farm", "bench") for path in (ROOT / room).rglob("*.py")):
        assert not {name for name in _imports(path) if name.partition(".")[0] == "simulator"}, path


def test_a_world_leaves_the_limits_as_they_were() -> None:
    before = {name: value for name, value in vars(limits).items() if name.isupper()}
    for seed in range(20):
        run(seed)
    assert {name: value for name, value in vars(limits).items() if name.isupper()} == before


def test_what_is_to_happen_happens() -> None:
    """A simulator in which nothing goes wrong finds nothing: every end and every answer is met."""
    counts: Counter[str] = Counter()
    for seed in range(600):
        world = World(seed)
        world.run()
        counts.update(world.engine.counts)
        counts["moved"] += sum(
            peer.place.addr.startswith(f"{index}b") for index, peer in enumerate(world.peers)
        )
        counts["small"] += bool(world.engine._answered.retained.dropped)
    for code in (
        "ok", "busy", "cancelled", "internal", "line_too_long", "peer_gone", "shutdown", "timeout",
        "truncated", "upstream_broke", "upstream_refused", "upstream_status",
    ):  # fmt: skip
        assert counts[f"ended_{code}"], code
    for code in ("bad_request", "busy", "denied", "replayed", "shutdown", "upload_incomplete"):
        assert counts[f"refused_{code}"], code
    for kind in ("ack", "cancel", "http", "missing", "resume", "upload"):
        assert counts[f"event_{kind}"], kind
    for name in ("held", "repeated", "sent_again", "asked_too_late", "moved", "small"):
        assert counts[name], name


def test_the_command_tells_how_fast_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "5", "--first", "70"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "worlds/s: every promise held" in said.err


def test_a_single_world_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert run(3).digest in lines[-1]
    assert len(lines) > 30


def test_a_broken_promise_is_one_exit_code_and_its_last_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "50", "--plant", "wrong-place"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    assert "position" in lines[-2]
    seed = lines[-2].split()[1].rstrip(":")
    assert lines[-1].endswith(f"--seed {seed} --trace")
