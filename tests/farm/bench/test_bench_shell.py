"""The whole command against a server that answers as told: each failure by its name, each file made."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from matplotlib import image
from talker import GAP_S, Talker, talking

from farm.bench import cli, files, limits, plot, session
from farm.bench.settings import KEY_VARIABLE


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAUSE_S", 0.0)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def measured(talker: Talker, folder: Path, *flags: str, code: int = 0) -> dict[str, Any]:
    """The result of a short run."""
    out = folder / "out.json"
    words = [talker.url, "--requests", "2", "--concurrency", "1", "--json", str(out), *flags]
    if "--rate" in flags:
        del words[3:5]
    assert cli.main(words) == code
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("asked", list(itertools.product(["native", "openai"], ["generate", "chat"])))
@pytest.mark.parametrize("load", [("--concurrency", "1,2"), ("--rate", "200,400")])
def test_whole_answers(
    talker: Talker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    asked: tuple[str, str],
    load: tuple[str, str],
) -> None:
    api, endpoint = asked
    flags = ("--api", api, "--endpoint", endpoint, "--prompt", "ok", *load)
    found = measured(talker, tmp_path, *flags)
    version = "0.24.0" if api == "native" else None
    target = {"url": talker.url, "api": api, "endpoint": endpoint, "version": version, "model": "m"}
    assert found["target"] == target
    assert [step["level"] for step in found["steps"]] == [float(level) for level in load[1].split(",")]
    for step in found["steps"]:
        assert (step["requests"], step["ok"], step["errors"], step["complete"]) == (2, 2, {}, True)
        assert (step["tokens"], step["tokens_from"]) == (10, "server")
        assert step["requests_per_s"] == pytest.approx(2 / step["wall_s"])
        # A bench that had to wait for the processor may find two chunks at once.
        assert 1 <= step["icl_s"]["n"] <= 4
        assert step["latency_s"]["min"] >= 2 * GAP_S
        first, latency = step["ttft_s"], step["latency_s"]
        assert step["first_byte_s"]["min"] <= first["min"] <= latency["min"]
        assert (step["queue_s"] is None, step["outside_s"] is None) == (api == "openai",) * 2
    if api == "native":
        assert found["steps"][0]["queue_s"]["p50"] == pytest.approx(0.0005)
    told = capsys.readouterr()
    assert told.out.count("| 2 clients |" if load[0] == "--concurrency" else "| 400/s ") == 2
    assert "warming up, 1 of 1\n" in told.err
    assert "2 of 2 answered" in told.err
    assert talker.prompts == ["ok"] * 5


@pytest.mark.parametrize("api", ["native", "openai"])
@pytest.mark.parametrize(
    "failure",
    [
        ("error", "stream_error", "an error was encountered"),
        ("unmarked", "no_end_mark", "the stream ended without its end mark"),
        ("busy", "http_503", "server busy, please try again. (Retry-After 2)"),
        ("cut", "broken", "the connection was closed within the answer"),
        ("garbage", "malformed", "a line that cannot be read"),
        ("nothttp", "malformed", "the answer is not HTTP"),
        ("plain", "http_500", "no words in JSON"),
        ("moved", "http_307", "{}"),
        ("silent", "timeout", "no end mark within 0.2 s"),
    ],
)
def test_each_failure_has_its_name(
    talker: Talker,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    api: str,
    failure: tuple[str, str, str],
) -> None:
    prompt, kind, words = failure
    timeout = "0.2" if prompt == "silent" else "20"
    flags = ("--api", api, "--prompt", prompt, "--warmup", "0", "--timeout", timeout)
    found = measured(talker, tmp_path, *flags, code=1)
    (step,) = found["steps"]
    assert (step["requests"], step["ok"], step["errors"]) == (2, 0, {kind: 2})
    assert step["examples"][kind].startswith(words)
    assert (step["latency_s"], step["tokens"]) == (None, 0)
    assert f"failed at 1 client: 2 × {kind}: {words}" in capsys.readouterr().out


def test_one_of_two_fails(talker: Talker, tmp_path: Path) -> None:
    texts = tmp_path / "prompts"
    texts.write_text('{"prompt": "ok"}\n{"prompt": "cut"}\n')
    (step,) = measured(talker, tmp_path, "--prompts", str(texts), "--requests", "4")["steps"]
    assert (step["requests"], step["ok"], step["errors"]) == (4, 2, {"broken": 2})
    assert step["latency_s"]["n"] == 2
    assert talker.prompts == ["ok", "ok", "cut", "ok", "cut"]


def test_a_server_that_is_gone_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with talking() as talker:
        warmed = cli.run._warm_up

        async def warm_and_end(*args: Any) -> None:
            await warmed(*args)
            talker.end()

        monkeypatch.setattr(limits, "REUSE_S", 0.0)
        monkeypatch.setattr(cli.run, "_warm_up", warm_and_end)
        (step,) = measured(talker, tmp_path, "--prompt", "ok", code=1)["steps"]
    assert step["errors"] == {"refused": 2}
    assert step["examples"] == {"refused": "Connection refused"}


@pytest.mark.parametrize("api", ["native", "openai"])
def test_an_untold_count_is_that_of_the_chunks(
    talker: Talker, tmp_path: Path, capsys: pytest.CaptureFixture[str], api: str
) -> None:
    (step,) = measured(talker, tmp_path, "--api", api, "--prompt", "untold")["steps"]
    assert (step["tokens"], step["tokens_from"], step["queue_s"]) == (6, "chunks", None)
    assert "tokens at 1 client are counted as chunks" in capsys.readouterr().out


def test_an_answer_is_whole_at_its_end_mark(
    talker: Talker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DRAIN_S", 0.02)
    (step,) = measured(talker, tmp_path, "--prompt", "lingering", "--timeout", "5")["steps"]
    assert (step["ok"], step["errors"]) == (2, {})
    # What lingered was closed: each request had a connection of its own.
    assert talker.connections >= 3


def test_connections_are_used_again(talker: Talker, tmp_path: Path) -> None:
    measured(talker, tmp_path, "--prompt", "ok", "--requests", "6")
    assert talker.connections == 1


def test_clients_are_as_many_as_told(talker: Talker, tmp_path: Path) -> None:
    measured(talker, tmp_path, "--prompt", "ok", "--requests", "9", "--concurrency", "3")
    assert talker.most == 3


def test_open_load_does_not_wait(tmp_path: Path) -> None:
    with talking(hold=8) as talker:
        flags = ("--prompt", "held", "--rate", "300", "--requests", "8", "--warmup", "0")
        (step,) = measured(talker, tmp_path, *flags)["steps"]
    assert (step["ok"], talker.most) == (8, 8)
    assert step["late_s"]["n"] == 8


def test_requests_hold_what_was_asked(talker: Talker, tmp_path: Path) -> None:
    measured(talker, tmp_path, "--prompt", "ok", "--max-tokens", "7", "--seed", "40", "--warmup", "0")
    bodies = [body for _, path, _, body in talker.seen if path == "/api/generate"]
    plain = {"model": "m", "prompt": "ok", "stream": True}
    assert bodies == [{**plain, "options": {"num_predict": 7, "seed": seed}} for seed in (40, 41)]


@pytest.mark.parametrize(
    ("how", "flags", "target"),
    [
        ({"models": ("a", "b"), "loaded": ("b",)}, (), ("native", "b")),
        ({"models": ("a",)}, (), ("native", "a")),
        ({"models": ("a", "b")}, ("--model", "a"), ("native", "a")),
        ({"version": None}, (), ("openai", "m")),
        ({"version": 5}, (), ("openai", "m")),
        ({}, ("--api", "openai"), ("openai", "m")),
        ({"version": None, "openai": False}, ("--api", "openai", "--model", "x"), ("openai", "x")),
    ],
)
def test_language_and_model_are_found(
    tmp_path: Path, how: dict[str, Any], flags: tuple[str, ...], target: tuple[str, str]
) -> None:
    with talking(**how) as talker:
        found = measured(talker, tmp_path, "--prompt", "ok", *flags)["target"]
    assert (found["api"], found["model"]) == target
    assert found["endpoint"] == ("chat" if found["api"] == "openai" else "generate")


@pytest.mark.parametrize(
    ("how", "flags", "words"),
    [
        ({}, ("--model", "x"), "has no model 'x'; it has m"),
        ({"models": ()}, (), "needs --model; it lists none"),
        ({"models": ("a", "b")}, (), "needs --model; it has a, b"),
        ({"models": ("a", "b"), "loaded": ("a", "b")}, (), "needs --model; it has a, b"),
        ({"models": ("a", "b"), "version": None}, (), "needs --model; it has a, b"),
        ({"models": (), "version": None}, (), "needs --model; it lists none"),
        ({"models": tuple("abcdefghijkl")}, (), "needs --model; it has a, b, c, d, e, f, g, h, i, j, …"),
        (
            {"version": None, "openai": False},
            (),
            "is neither an Ollama (GET /api/version answers 404) nor an",
        ),
        ({"version": None}, ("--api", "native"), "is no Ollama: GET /api/version answers 404; for OpenAI's"),
        ({"version": "gone"}, (), "does not answer in HTTP (GET /api/version)"),
        ({}, ("--model", "sick"), "answers 500 when asked for model 'sick': the disk is sick"),
        ({"key": "right"}, (), "refuses /api/version with 401: does it want a key? FARM_BENCH_KEY takes one"),
        ({}, ("--prompt", "busy"), "does not answer the warm-up (http_503): server busy"),
        ({}, ("--prompt", "unmarked"), "does not answer the warm-up (no_end_mark): the stream ended"),
    ],
)
def test_a_target_that_cannot_be_asked(
    capsys: pytest.CaptureFixture[str], how: dict[str, Any], flags: tuple[str, ...], words: str
) -> None:
    with talking(**how) as talker:
        assert cli.main([talker.url, *flags]) == 1
        told = capsys.readouterr()
        (line,) = [line for line in told.err.splitlines() if not line.startswith("warming up")]
        assert line.startswith(f"farm bench: {talker.url} {words}")
    assert told.out == ""


def test_a_closed_port(capsys: pytest.CaptureFixture[str]) -> None:
    with talking() as talker:
        url = talker.url
    assert cli.main([url]) == 1
    assert capsys.readouterr().err == f"farm bench: {url} cannot be reached: Connection refused\n"


KEY = ConnectionKey("host", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name not known")), "Name not known"),
        (aiohttp.ClientConnectorError(KEY, OSError(113, "Connect call failed ('h', 1)")), "No route to host"),
        (aiohttp.ClientConnectorError(KEY, OSError("nothing answers")), "nothing answers"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "wrong version")), "no TLS: wrong version"),
        (
            aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed")),
            "its certificate is not accepted: ('self-signed',)",
        ),
    ],
)
def test_why_there_is_no_connection(error: aiohttp.ClientConnectorError, words: str) -> None:
    assert session.why_not_reached(error) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aiohttp.ServerDisconnectedError(), "the connection was closed before the answer"),
        (aiohttp.ClientPayloadError("bytes"), "the connection was closed within the answer"),
        (ConnectionResetError(104, "reset"), "Connection reset by peer"),
        (aiohttp.ClientOSError("Cannot write"), "Cannot write"),
    ],
)
def test_how_a_connection_broke(error: Exception, words: str) -> None:
    assert session.why_cut(error) == words


def test_a_server_that_does_not_speak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ASK_S", 0.05)
    with talking(version="never") as talker:
        assert cli.main([talker.url]) == 1
        expected = f"farm bench: {talker.url} does not answer /api/version within 0.05 s\n"
    assert capsys.readouterr().err == expected


def test_the_key_is_sent_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "s3cret-key")
    with talking(key="s3cret-key") as talker:
        measured(talker, tmp_path, "--prompt", "ok")
        measured(talker, tmp_path, "--prompt", "keyed", "--warmup", "0", code=1)
    told = capsys.readouterr()
    assert "1 client: 2 × http_401: not Bearer …" in told.out
    for text in (told.out, told.err, (tmp_path / "out.json").read_text(encoding="utf-8")):
        assert "s3cret" not in text


def test_no_key_no_header(talker: Talker, tmp_path: Path) -> None:
    measured(talker, tmp_path, "--prompt", "ok")
    assert all("authorization" not in headers for _, _, headers, _ in talker.seen)


def test_a_url_may_end_in_v1(talker: Talker, tmp_path: Path) -> None:
    out = tmp_path / "o.json"
    words = [f"{talker.url}/v1/", "--prompt", "ok", "--requests", "1", "--concurrency", "1"]
    assert cli.main([*words, "--api", "openai", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["target"]["url"] == talker.url


MARK = "{http://www.w3.org/2000/svg}use"
SPREADS = [f"{name}.{part}" for name in ("latency_s", "ttft_s", "icl_s") for part in ("p50", "p95", "p99")]
CURVES = ["requests_per_s", *SPREADS]


def curves(path: Path) -> dict[str, int]:
    """The curves of an SVG and how many points each has."""
    root = ET.parse(path).getroot()  # noqa: S314 - made a moment ago
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    groups = [group for group in root.iter("{http://www.w3.org/2000/svg}g") if "_s." in group.get("id", "")]
    return {group.get("id", ""): len(list(group.iter(MARK))) for group in groups}


def test_pictures(talker: Talker, tmp_path: Path) -> None:
    for name in ("a.png", "a.svg"):
        measured(talker, tmp_path, "--prompt", "ok", "--concurrency", "1,2", "--plot", str(tmp_path / name))
    height, width, _ = image.imread(tmp_path / "a.png").shape
    assert (width, height) == (1320, 960)
    assert curves(tmp_path / "a.svg") == {f"{name}.0": 2 for name in CURVES}


def test_a_picture_of_failures_alone(talker: Talker, tmp_path: Path) -> None:
    picture = tmp_path / "a.svg"
    measured(talker, tmp_path, "--prompt", "cut", "--warmup", "0", "--plot", str(picture), code=1)
    assert {name: count for name, count in curves(picture).items() if count} == {"requests_per_s.0": 1}


def test_two_results_side_by_side(talker: Talker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(tmp_path / name / "out.json") for name in "ab"]
    for name, prompt in zip("ab", ("ok", "untold"), strict=True):
        (tmp_path / name).mkdir()
        measured(talker, tmp_path / name, "--prompt", prompt, "--concurrency", "1,2")
    capsys.readouterr()
    picture = tmp_path / "both.svg"
    assert cli.main(["--compare", *names, "--plot", str(picture)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.startswith(f"{names[1]} ÷ {names[0]}")
    assert told.out.count("| 2 clients |") == 1
    assert "are in the ratios: the prompts differ" in told.out
    assert curves(picture) == {f"{name}.{index}": 2 for index in (0, 1) for name in CURVES}
    assert cli.main(["--compare", names[0], names[0]]) == 0
    assert "model and settings are the same" in capsys.readouterr().out


def test_without_matplotlib_nothing_is_asked(
    talker: Talker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda _: None)
    assert cli.main([talker.url, "--plot", str(tmp_path / "a.png")]) == 2
    words = "farm bench: --plot: matplotlib is not installed; pip install 'gpu-over-nkn[plot]'\n"
    assert capsys.readouterr().err == words
    assert talker.seen == []


def test_a_disk_that_is_full_at_the_end(
    talker: Talker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    out = tmp_path / "o.json"
    words = [talker.url, "--prompt", "ok", "--requests", "1", "--concurrency", "1", "--json", str(out)]
    assert cli.main(words) == 1
    told = capsys.readouterr()
    assert "| 1 client |" in told.out
    assert told.err.endswith(f"--json: {out} cannot be written: No space left on device\n")
