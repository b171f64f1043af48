"""The bench measures: a second of each kind of case gives its tables, a profile accounts for all it saw."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import cases, measured, processes, tables, tunnel
from bench.cases import CLOCKED, DIRECT, PLAIN, SDK, Case
from bench.measured import Costs, Figures
from bench.streams import Load, Stream, direct
from bench.timed_relay import OF_WORKERS, SEAMS, Meter, place

ROOT = Path(__file__).resolve().parents[1]

linux = pytest.mark.skipif(sys.platform != "linux", reason="the bench reads Linux's process clocks")


def _run(module: str, folder: Path, *words: str) -> tuple[str, dict[str, Any]]:
    files = ("--json", str(folder / "told.json"), "--markdown", str(folder / "told.md"))
    command = [sys.executable, "-m", f"bench.{module}", *words, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (folder / "told.md").read_text(encoding="utf-8") == done.stdout
    return done.stdout, json.loads((folder / "told.json").read_text(encoding="utf-8"))


def _needs_the_sdk() -> None:
    lack = "" if shutil.which("node") else "node is missing: install Node.js 20 or newer"
    if not lack and not processes.SDK.is_dir():
        lack = "the npm packages are missing: run `make node_modules`"
    if lack and os.environ.get("CI") == "true":
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)


@linux
@pytest.mark.node
def test_a_second_of_each_way_gives_the_tables(tmp_path: Path) -> None:
    _needs_the_sdk()
    words = ("--only", "ping,delay20,load1", "--rounds", "1", "--seconds", "1")
    text, told = _run("relay_vs_sdk", tmp_path, *words)
    for title in ("Ping, ms", "One stream: what is added", "Relay CPU s per 1,000 lines"):
        assert f"**{title}" in text
    assert "Eight streams" not in text
    assert {"CPU", "kernel", "Python", "libraries", "node", "nkn-sdk", "NKN node"} == set(told["machine"])
    by_case = {case["case"]: case["ways"] for case in told["cases"]}
    assert {name: len(ways) for name, ways in by_case.items()} == {"ping": 2, "delay20": 4, "load1": 4}
    for name, lines in (("delay20", 20), ("load1", 30)):
        for way, (figures,) in by_case[name].items():
            assert (figures["whole"], figures["streams"], figures["lines"]) == (1, 1, lines), way
            assert (figures["relay_cpu"] is None) == (way == "direct HTTP")
    for way in ("ours, clocked", "nkn-sdk"):
        assert by_case["load1"][way][0]["relay_cpu"] > 0
        assert by_case["load1"][way][0]["rss_mib"] > 1
    # Plain windows hold a line back, acknowledgements do not: the peer is told apart by each relay.
    assert (
        by_case["load1"]["ours, clocked"][0]["frames"] > by_case["load1"]["ours, plain windows"][0]["frames"]
    )


@linux
def test_the_profile_accounts_for_the_whole(tmp_path: Path) -> None:
    text, told = _run("profile_relay", tmp_path, "--streams", "1", "--seconds", "1")
    assert set(told) == {"clocked by acknowledgements", "plain windows"}
    for name, rows in told.items():
        by_name = {row["name"]: row for row in rows}
        whole = by_name.pop("whole process, with clocks")["cpu_s"]
        assert by_name.pop("whole process, without")["cpu_s"] > 0
        assert sum(row["cpu_s"] for row in by_name.values()) == pytest.approx(whole, rel=0.05), name
        assert {part for part, _ in SEAMS} < set(by_name)
        assert f"1 × 30 lines/s, {name}" in text
        sent = by_name["sign"]["calls"]
        assert sent > by_name["JSON and frame text"]["calls"] / 2, "each frame is signed"


TUNNEL = """#!{python}
import asyncio, sys

words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert words.keys() - {{"-i", "-from"}} == {{"-rpc", "-s", "-to"}}


async def pass_on(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


async def join(reader, writer):
    host, port = open({note!r}).read().split(":")
    there = await asyncio.open_connection(host, int(port))
    await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))


async def near():
    host, port = words["-from"].split(":")
    await (await asyncio.start_server(join, host, int(port))).serve_forever()


async def far():
    open({note!r}, "w").write(words["-to"])
    await asyncio.Event().wait()


asyncio.run(near() if "-from" in words else far())
"""


@linux
def test_networks_are_gone_through_by_a_relay_and_beside_it_by_a_tunnel(tmp_path: Path) -> None:
    program = tmp_path / "tunnel"
    program.write_text(TUNNEL.format(python=sys.executable, note=str(tmp_path / "note")), encoding="utf-8")
    program.chmod(0o700)
    words = ("--quick", "--only", "near", "--ways", "ours", "--tunnel", str(program))
    text, told = _run("lossy", tmp_path, *words)
    assert "| 0 ± 0 ms, 0% loss | tunnel |" in text
    assert [(one["way"], one["whole"], one["streams"]) for one in told] == [("ours", 4, 4), ("tunnel", 4, 4)]
    assert (told[0]["copies"] > 900, told[1]["copies"]) == (True, None)
    assert told[0]["relay_cpu"] > 0
    assert all(one["latest_ms"] >= one["late_ms"] for one in told)


def test_a_tunnel_that_cannot_be_started_is_named() -> None:
    with (
        pytest.raises(processes.MissingPartError, match="/no/tunnel cannot be started: No such file"),
        tunnel.tunnel("/no/tunnel", "http://127.0.0.1:1", "127.0.0.1:1"),
    ):
        pass


async def test_a_tunnel_through_which_nothing_comes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tunnel, "_PAUSE_S", 0.0)
    with pytest.raises(processes.MissingPartError, match="nothing comes"):
        await tunnel.Tunnel(f"http://127.0.0.1:{processes.free_port()}", 1).wait()


@pytest.mark.parametrize("silent", [False, True])
async def test_a_stream_that_breaks_off_or_falls_silent_is_not_whole(silent: bool) -> None:
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n2\r\na\n\r\n")
        if silent:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = await direct(f"http://127.0.0.1:{port}", 0.3)({"rate": 1, "lines": 2})
        await over.wait()
    assert ([line for _, line in stream.came], stream.whole) == (["a\n\r\n"], False)


@pytest.mark.parametrize("seam", [seam for _, seams in SEAMS for seam in seams])
def test_every_seam_is_a_function_of_the_code(seam: str) -> None:
    found = place(seam)[2]
    assert callable(getattr(found, "__func__", found))


def test_a_seam_that_is_gone_is_told_by_its_name() -> None:
    with pytest.raises(AttributeError, match=r"relay\.frames:Line\.gone"):
        place("relay.frames:Line.gone")


def test_the_meter_counts_no_time_twice() -> None:
    meter = Meter()
    outer, inner = SEAMS[0][1][:2]
    work = meter.wrap(inner, lambda: sum(range(200_000)))
    meter.wrap(outer, lambda: [work() for _ in range(5)])()
    told = meter.told()
    assert told[outer][0] == 1
    assert told[inner][0] == 5
    assert told[outer][1] < told[inner][1]


def test_parts_of_workers_are_parts() -> None:
    assert {part for part, _ in SEAMS} >= OF_WORKERS


def test_an_unknown_case_is_an_error_of_the_caller() -> None:
    command = [sys.executable, "-m", "bench.relay_vs_sdk", "--only", "load7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "load7" in done.stderr
    assert "load8" in done.stderr


def _chosen(**given: Any) -> list[Case]:
    return cases.chosen(
        **{"only": None, "quick": False, "rounds": None, "seconds": None, "sdk": True} | given
    )


def test_cases_are_chosen_and_shortened() -> None:
    assert [case.key for case in _chosen(only=["flat", "ping"])] == ["ping", "flat"]
    assert {case.rounds for case in _chosen(quick=True)} == {1}
    assert {way.relay for case in _chosen(sdk=False) for way in case.ways} == {"", "ours"}
    loads = {case.key: case.load for case in _chosen(rounds=2, seconds=0.5)}
    assert loads["load128"] == Load(128, 30, 15)
    assert loads["flat"] == Load(8, 0, 4000), "what has no pace has no length in seconds"
    every_other = _chosen(only=["delay20"])[0]
    assert every_other.order(0) == every_other.order(1)[::-1]


def _stream(asked: float, *came: tuple[float, float]) -> Stream:
    return Stream(asked, [(moment, json.dumps({"at": at})) for moment, at in came], whole=True)


def test_figures_of_streams() -> None:
    streams = [_stream(0.0, (0.010, 0.0), (0.1, 0.099)), _stream(0.0, (0.020, 0.0), (0.2, 0.197))]
    figures = measured.of_streams([*streams, Stream(0.0)], Costs(0.4, 0.2, None), copies=6, rss_mib=50.0)
    assert figures.first_ms == pytest.approx(15)
    assert figures.late_ms == pytest.approx(3)
    assert (figures.lines, figures.whole, figures.streams) == (4, 2, 3)
    assert figures.rate == pytest.approx(20)
    assert (figures.relay_cpu, figures.peer_cpu, figures.node_cpu) == (100, 50, None)
    assert figures.frames == 1500


def test_nothing_that_came_has_no_figures() -> None:
    with pytest.raises(ValueError, match="not one line"):
        measured.of_streams([Stream(0.0)], Costs(0.4, 0.2, None))


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.5, 3.0), (0.95, 5.0), (1.0, 5.0)]
)  # fmt: skip
def test_quantiles(share: float, value: float) -> None:
    assert measured.quantile([5.0, 3.0, 1.0, 4.0, 2.0], share) == value


def _figures(first: float, late: float, cpu: float | None) -> Figures:
    return Figures(first, late, late, 30, 1, 1, 30.0, cpu, 0.1, None, None, None)


def test_what_is_added_and_how_it_compares() -> None:
    case = Case("delay20", "delay", 2, Load(1, 20, 20), (DIRECT, CLOCKED, SDK))
    rounds = {
        DIRECT: [_figures(1.0, 0.5, None), _figures(2.0, 0.5, None)],
        CLOCKED: [_figures(5.0, 1.5, 0.45), _figures(8.0, 1.5, 0.55)],
        SDK: [_figures(81.0, 40.5, 0.9), _figures(82.0, 40.5, 1.1)],
    }
    text = tables.Report({"CPU": "2 × some"}, [(case, rounds)]).markdown()
    assert "| 20 | ours, clocked | 6.5 (5.0–8.0) | 5.0 (4.0–6.0) | 1.50 | 1.00 | 1.0 | 0.06 / 0.03 |" in text
    load = Case("load1", "load", 2, Load(1, 30, 30), (CLOCKED, SDK, PLAIN))
    text = tables.Report({}, [(load, {CLOCKED: rounds[CLOCKED], SDK: rounds[SDK]})]).markdown()
    assert "| 1 × 30 | ours, clocked | 0.500 (0.450–0.550) | 0.50 |" in text
    assert "| 1 × 30 | nkn-sdk | 1.000 (0.900–1.100) | – |" in text
