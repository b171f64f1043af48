"""The bench of the proxies: what came is read as it was sent, tables tell it, and a small run is real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import proxy_cases, proxy_load, proxy_reading, proxy_tables
from bench.proxy_cases import DIRECT, LITELLM, NATIVE, NGINX, OPENAI, OURS, Case, Load
from bench.proxy_reading import Answer, Heard
from bench.proxy_tables import Figures, Report

ROOT = Path(__file__).resolve().parents[1]

linux = pytest.mark.skipif(sys.platform != "linux", reason="the bench reads Linux's process clocks")
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunks(*texts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(text), text) for text in texts)


LINES = (
    b'{"response":"10.000000","done":false}\n',
    b'{"response":"10.500000","done":false}\n',
    b'{"response":"","done":true}\n',
)
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"10.000000"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content": "10.500000"}}]}\n\n',
    b"data: [DONE]\n\n",
)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("path", "sent"), [(NATIVE, LINES), (OPENAI, EVENTS)])
@pytest.mark.parametrize("chunked", ["singly", "anew"])
def test_lines_are_found_however_they_are_cut(
    path: str, sent: tuple[bytes, ...], size: int, chunked: str
) -> None:
    whole = b"".join(sent)
    chunks = sent if chunked == "singly" else [whole[at : at + 11] for at in range(0, len(whole), 11)]
    data = HEAD + _chunks(*chunks) + b"0\r\n\r\n"
    pieces = [(11.0, data[at : at + size]) for at in range(0, len(data), size)]
    heard = proxy_reading.read(Answer(path, 9.0, pieces, over=True))
    assert heard.came == [11.0, 11.0]
    assert heard.late_ms == pytest.approx([1000, 500])
    assert heard.whole
    assert heard.words == ""
    assert heard.ttft_ms == pytest.approx(2000)


def test_each_line_has_the_moment_of_the_piece_that_brought_its_end() -> None:
    data = _chunks(*LINES)
    at = data.index(b"10.5") + 2
    pieces = [(11.0, HEAD + data[:at]), (12.0, data[at:])]
    assert proxy_reading.read(Answer(NATIVE, 9.0, pieces)).came == [11.0, 12.0]


@pytest.mark.parametrize(
    ("data", "cut", "words"),
    [
        (HEAD + _chunks(*LINES[:2]) + b"0\r\n\r\n", False, "it ended without its end mark"),
        (HEAD + _chunks(*LINES[:2]), True, ""),
        (b"", True, ""),
        (b"", False, "status 0: nothing came"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlate", True, "status 503: late"),
        (b"what?", False, "no HTTP: "),
    ],
)
def test_what_is_no_whole_answer(data: bytes, cut: bool, words: str) -> None:
    heard = proxy_reading.read(Answer(NATIVE, 9.0, [(11.0, data)] if data else [], over=not cut, cut=cut))
    assert not heard.whole
    assert heard.words.startswith(words)
    assert bool(heard.words) == bool(words)


def test_only_what_came_in_the_time_measured_counts() -> None:
    early = Heard(0.9, [0.95, 1.2], [5.0, 7.0], whole=True)
    late = Heard(1.5, [1.9, 2.1], [9.0, 9.0], whole=False, words="status 503")
    found = proxy_load.figures([early, late], 1.0, 2.0)
    assert found["lines"] == 2
    assert found["ttft_ms"] == pytest.approx([400])
    assert (found["whole"], found["failed"], found["words"]) == (1, 1, "status 503")
    assert found["late_ms"] == 9.0


@pytest.mark.parametrize(
    ("peers", "ways"),
    [
        (["farm"], ["direct", "ours", "direct, /v1", "ours, /v1"]),
        (["nginx"], ["direct", "nginx"]),
        (["litellm"], ["direct, /v1", "LiteLLM, /v1"]),
    ],
)
def test_who_takes_part_is_held_against_nobody_between(peers: list[str], ways: list[str]) -> None:
    for case in proxy_cases.chosen(only=None, peers=peers, quick=True):
        assert [way.name for way in case.ways] == ways
        assert case.order(1) == case.order(0)[::-1]
        assert (case.rounds, case.load.seconds) == (1, 2.0)


def test_a_job_is_read_as_it_was_written() -> None:
    job = proxy_load.Job(8080, OPENAI, Load(8, 50, 100, 2.0, 1.0), "sk-1", {"proxy": [1, 2]})
    assert proxy_load.Job.read(job.written()) == job
    head, _, body = job.request().partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Authorization: Bearer sk-1\r\n" in head
    assert json.loads(json.loads(body)["messages"][0]["content"]) == {"rate": 50, "lines": 100}
    assert job.load.gap_s == pytest.approx(0.25)


def _figures(first: float | None, rate: float, cpu: float | None, failed: int = 0) -> Figures:
    busy = {"upstream": 0.5, "client": 0.25} | ({} if cpu is None else {"proxy": 1.0})
    rss = None if cpu is None else 60.0
    return Figures(first, first, 0.5, 0.5, 100, rate, 4, failed, "", cpu, busy, rss)


def test_tables() -> None:
    case = Case("pace8", "pace", 2, Load(8, 50, 50, 1.0, 1.0), (DIRECT, OURS, NGINX, LITELLM))
    rounds = {
        DIRECT: [_figures(0.25, 400, None), _figures(0.5, 200, None)],
        OURS: [_figures(1.25, 300, 0.25), _figures(2.5, 200, 0.5)],
        NGINX: [],
        LITELLM: [_figures(None, 40, 1.0, failed=1)],
    }
    report = Report({"CPU": "2 × some"}, {"nginx": "nginx is missing"}, [(case, rounds)])
    text = report.markdown()
    assert text.startswith("CPU 2 × some\n\n**At a GPU's pace**\n")
    ours = (
        "| 8 | ours | 1.88 (1.25–2.50) | 1.50 (1.00–2.00) | 1.5 (1.0–2.0) | 0.50 | 0.00 | 0.0 "
        "| 250 (200–300) | 0.88 (0.75–1.00) | 0.375 (0.250–0.500) | 100 / 50 / 25 | 60 | 8 |"
    )
    assert ours in text.splitlines()
    assert f"| 8 | nginx | nginx is missing{' | –' * 11} |" in text.splitlines()
    assert any(
        line.startswith("| 8 | LiteLLM, /v1 | – | – |") and line.endswith("| 4, 1 failed |")
        for line in text.splitlines()
    )
    assert report.json()["cases"][0]["ways"]["LiteLLM, /v1"][0]["proxy_cpu"] == 1.0


def test_a_run_in_which_nothing_came_has_no_figures() -> None:
    with pytest.raises(ValueError, match="status 502"):
        proxy_tables.of_load({"lines": 0, "words": "status 502"}, None)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "LITELLM"}
    command = [sys.executable, "-m", "bench.proxies", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)


@linux
def test_a_small_run_is_real_and_says_who_is_missing(tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "told.json"), "--markdown", str(tmp_path / "told.md"))
    short = ("--only", "pace1,flat1", "--rounds", "1", "--seconds", "0.5")
    done = _run(*short, "--peers", "farm,litellm", *files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told.md").read_text(encoding="utf-8") == done.stdout
    assert "| 1 | LiteLLM, /v1 | LiteLLM is missing: --litellm PROGRAM" in done.stdout
    told = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert {"CPU", "libraries", "load average before"} <= set(told["machine"])
    for case in told["cases"]:
        assert set(case["ways"]) == {"direct", "ours", "direct, /v1", "ours, /v1", "LiteLLM, /v1"}
        assert case["ways"].pop("LiteLLM, /v1") == []
        for name, (figures,) in case["ways"].items():
            assert figures["lines"] > 0, name
            assert (figures["failed"], figures["words"]) == (0, ""), name
            assert (figures["proxy_cpu"] is None) == name.startswith("direct"), name
            if case["case"] == "pace1":
                assert figures["whole"] >= 1, name
                assert figures["late_ms"] > 0, name


@pytest.mark.parametrize("words", [("--only", "pace2"), ("--peers", "squid")])
def test_what_there_is_not(words: tuple[str, ...]) -> None:
    done = _run(*words)
    assert done.returncode == 2
    assert f"there is no {words[1]}; there are" in done.stderr
