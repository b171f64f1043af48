"""`python -m relay doctor` as a person runs it: on a network of one node, and where everything is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Ollamalike, Relay
from scripted import Scripted, Visit

from relay.doctor import cli, looking
from relay.nkn.devnode import DevNode

SEED = "5eed" * 16
PAGE = (ROOT / "docs" / "relay-operator.md").read_text(encoding="utf-8")
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("RELAY_", "NKN_"))}


async def doctor(file: Path, *flags: str, **env: str) -> tuple[int, str, str]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "doctor", "--env-file", str(file), *flags),
        cwd=ROOT,
        env=CLEAN | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    assert err == b""
    return child.returncode or 0, out.decode(), err.decode()


async def findings(file: Path, **env: str) -> dict[str, list[tuple[str, str, str]]]:
    code, out, _ = await doctor(file, "--json", **env)
    told = json.loads(out)
    assert code == int(told["failures"] > 0)
    found: dict[str, list[tuple[str, str, str]]] = {}
    for one in told["findings"]:
        found.setdefault(one["check"], []).append((one["level"], one["text"], one["remedy"]))
        assert SEED not in out
    return found


@pytest.fixture
def env(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(f"NKN_SEED_HEX={SEED}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
async def local() -> AsyncIterator[str]:
    async with DevNode() as started:  # a real nknd would do as well; its time is as good as ours
        yield started.rpc_url


async def test_all_is_well(env: Path, local: str, upstream: Ollamalike) -> None:
    upstream.models = [{"name": "m"}]
    where = {"NKN_RPC_ADDR": local, "RELAY_TARGETS": json.dumps({"ollama": upstream.url})}
    code, out, _ = await doctor(env, **where)
    assert code == 0, out
    assert f"seed     {local} answers in " in out
    assert "is Ollama 0.24.0 with m" in out
    assert "clock    the clock agrees" in out
    assert sorted(path for _, path, _ in upstream.seen) == ["/_health", "/api/tags", "/api/version"]
    assert {method for method, _, _ in upstream.seen} == {"GET"}


async def test_nothing_is_made_or_changed(tmp_path: Path) -> None:
    file = tmp_path / "none.env"
    found = await findings(
        file, NKN_RPC_ADDR="http://127.0.0.1:9", RELAY_TARGETS='{"a":"http://127.0.0.1:9"}'
    )
    assert found["env-file"][0][0] == "warn"
    assert found["settings"][0][0] == "ok"
    assert "address" not in found
    assert list(tmp_path.iterdir()) == []


async def test_every_mistake_is_told_and_what_can_be_seen_is_seen(env: Path, local: str) -> None:
    env.write_text(f"NKN_SEED_HEX={SEED}x\nRELAY_WORKER=3\nRELAY_KEEPALIVE_S=no\n=x\n")
    env.chmod(0o644)
    found = await findings(env, NKN_RPC_ADDR=local, RELAY_POLICY="none.toml", RELAY_QUEUE="x")
    keys = {text.partition(":")[0] for _, text, _ in found["settings"]}
    assert keys == {
        "NKN_SEED_HEX", "RELAY_WORKER", "RELAY_KEEPALIVE_S", "RELAY_QUEUE", "RELAY_POLICY", f"{env}, line 4",
    }  # fmt: skip
    remedies = {text.partition(":")[0]: remedy for _, text, remedy in found["settings"]}
    assert "unset RELAY_QUEUE" in remedies["RELAY_QUEUE"]
    assert found["env-file"][0][2] == f"chmod 600 {env}"
    assert [level for level, _, _ in found["seed"]] == ["ok"]
    assert found["target"][0][2].startswith("python -m farm --model MODEL")


async def test_a_link_and_a_folder_in_place_of_the_file(env: Path, tmp_path: Path, local: str) -> None:
    link = tmp_path / "link.env"
    link.symlink_to(env)
    found = await findings(link, NKN_RPC_ADDR=local)
    assert found["env-file"][0][:2] == (
        "warn", f"{link} is a symbolic link to {env}: whoever may write there is this relay",
    )  # fmt: skip
    found = await findings(tmp_path, NKN_RPC_ADDR=local)
    assert found["env-file"][0][0] == "fail"
    assert "seed" not in found


async def test_who_is_silent_costs_seconds_and_hides_nobody(env: Path, local: str) -> None:
    async def late_clock(visit: Visit) -> None:
        date = b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
        await visit.send(b"HTTP/1.1 429 Too Many\r\n" + date + b"Content-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        port = silent.getsockname()[1]
        async with Scripted({"": late_clock}) as busy:
            seeds = [f"http://127.0.0.1:{port}", busy.url, "http://127.0.0.1:9", local]
            began = time.monotonic()
            found = await findings(
                env,
                NKN_RPC_ADDR=",".join(seeds),
                NKN_BRIDGE_SEED_WS=f"ws://127.0.0.1:{port},ws://127.0.0.1:9",
                RELAY_TARGETS=json.dumps({"deaf": f"http://127.0.0.1:{port}", "farm": busy.url}),
            )
    assert time.monotonic() - began < 10
    assert [level for level, _, _ in found["seed"]] == ["warn", "warn", "warn", "ok"]
    assert "no answer within 3 s" in found["seed"][0][1]
    assert found["seed"][1][1].endswith("HTTP 429")
    assert found["seed"][2][1].endswith("Connection refused")
    assert [level for level, _, _ in found["bridge"]] == ["ok", "warn"]
    assert [level for level, _, _ in found["target"]] == ["fail", "ok"]
    assert found["clock"][0][0] == "warn"


async def test_the_port_of_the_figures(env: Path, local: str, upstream: Ollamalike, tmp_path: Path) -> None:
    port = upstream.url.rpartition(":")[2]
    found = await findings(env, NKN_RPC_ADDR=local, RELAY_METRICS_PORT=port)
    assert found["port"][0][0] == "fail"
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        free = str(one.getsockname()[1])
    found = await findings(env, NKN_RPC_ADDR=local, RELAY_METRICS_PORT=free)
    assert found["port"][0][1] == f"port {free} is free for RELAY_METRICS_PORT"
    async with Relay(tmp_path, local, upstream.url, RELAY_METRICS_PORT=free):
        found = await findings(env, NKN_RPC_ADDR=local, RELAY_METRICS_PORT=free)
    assert found["port"][0][1] == f"on port {free} a relay shows its figures already"


async def test_a_proxy_of_the_environment_is_not_told_with_its_password(env: Path) -> None:
    for proxy in ("http://me:s3cret@127.0.0.1:9", "odd://me:s3cret@x"):
        code, out, _ = await doctor(
            env, NKN_RPC_ADDR="http://nkn.invalid:1", HTTP_PROXY=proxy, http_proxy=proxy
        )
        assert code == 1
        assert "s3cret" not in out


def test_a_wrong_flag_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--nonsense"])
    assert ended.value.code == 2
    assert "--nonsense" in capsys.readouterr().err


def test_what_never_answers_is_left_behind() -> None:
    began = time.monotonic()
    questions: dict[Any, Any] = {"a": lambda: 1, "b": lambda: time.sleep(5)}
    assert looking.gather(questions, 0.2) == {"a": 1}
    assert time.monotonic() - began < 3


def test_every_check_and_flag_stands_on_the_page() -> None:
    import re

    source = "".join(path.read_text() for path in (ROOT / "relay" / "doctor").glob("*.py"))
    checks = set(re.findall(r'\b(?:ok|warn|fail)\(\s*"([a-z-]+)"', source))
    assert len(checks) > 8
    assert {check for check in checks if f"| `{check}` |" not in PAGE} == set()
    for action in cli.parser()._actions:
        assert action.dest == "help" or f"`{action.option_strings[0]}" in PAGE
