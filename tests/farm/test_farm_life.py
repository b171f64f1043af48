"""A real farm's life: leaving frees slots, keep_alive unloads, a dead engine comes back, signals end all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

MODEL = "smollm2:135m"
ENDLESS: dict[str, Any] = {"model": MODEL, "prompt": "Numbers:", "raw": True}
OPTIONS = {"num_predict": 5000, "temperature": 1.0, "seed": 3, "top_k": 0, "top_p": 1.0}

pytestmark = pytest.mark.engine


def eventually(fact: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not (held := fact()) and time.monotonic() < end:
        time.sleep(0.02)
    return held


def engine_pid(farm: Any) -> int:
    children = Path(f"/proc/{farm.process.pid}/task/{farm.process.pid}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def own_farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A farm of the test's own, to be broken; `start_farm` comes from the conftest of this folder."""
    tools = sys.modules[type(request.getfixturevalue("farm")).__module__]
    running = tools.start_farm("--num-parallel", "1", log=tmp_path / "log")
    yield running
    if running.process.poll() is None:
        tools.end_farm(running)
    assert running.process.stdout is not None
    running.process.stdout.close()


# -- leaving ----------------------------------------------------------------------------------

LONG = "Write a very long story."
CHAT = [{"role": "user", "content": LONG}]
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "generate": ("/api/generate", {**ENDLESS, "options": OPTIONS}),
    "generate, whole": ("/api/generate", {**ENDLESS, "options": OPTIONS, "stream": False}),
    "chat": ("/api/chat", {"messages": CHAT, "format": "json", "options": OPTIONS}),
    "v1 chat": ("/v1/chat/completions", {"messages": CHAT, "stream": True, "max_tokens": 5000}),
    "v1 completions, whole": ("/v1/completions", {"prompt": LONG, "max_tokens": 5000}),
}


@pytest.mark.parametrize("name", ROUTES)
def test_leaving_frees_the_slot(farm: Any, name: str) -> None:
    path, body = ROUTES[name]
    host, port = farm.url.removeprefix("http://").split(":")
    data = json.dumps(body | {"model": MODEL}).encode()
    with socket.create_connection((host, int(port))) as wire:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(data)}\r\n\r\n"
        wire.sendall(head.encode() + data)
        assert eventually(lambda: farm.engine["busy"] == 1)
        if "whole" not in name:
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    assert eventually(lambda: farm.engine["busy"] == 0)


def test_leaving_by_the_official_client_frees_the_slot(farm: Any) -> None:
    import ollama

    client = ollama.Client(host=farm.url)
    stream = client.generate(MODEL, "Numbers:", raw=True, options=OPTIONS, stream=True)
    assert next(stream).response
    assert farm.engine["busy"] == 1
    stream.close()
    client._client.close()
    assert eventually(lambda: farm.engine["busy"] == 0)


def test_the_next_in_line_starts_when_the_first_leaves(own_farm: Any) -> None:
    with httpx.Client(base_url=own_farm.url, timeout=60) as client:
        with client.stream("POST", "/api/generate", json={**ENDLESS, "options": OPTIONS}) as first:
            lines = first.iter_lines()  # kept: a reader that is dropped closes its answer
            next(lines)
            assert own_farm.engine == {"loaded": True, "slots": 1, "busy": 1}
        # One slot only: an answer means that the first request's is free.
        told = client.post(
            "/api/generate", json={**ENDLESS, "stream": False, "options": {"num_predict": 2}}
        ).json()
    assert told["eval_count"] == 2


# -- keep_alive ---------------------------------------------------------------------------------


def test_keep_alive_unloads_and_the_next_request_loads(own_farm: Any) -> None:
    # Behind the front, which would load by itself.
    with httpx.Client(base_url=own_farm.back, timeout=60) as client:
        first = engine_pid(own_farm)
        assert (
            client.post("/api/generate", json={"model": MODEL, "keep_alive": 0}).json()["done_reason"]
            == "unload"
        )
        assert client.get("/api/ps").json() == {"models": []}
        assert eventually(lambda: not alive(first))
        again = client.post(
            "/api/generate", json={**ENDLESS, "stream": False, "options": {"num_predict": 1}}
        ).json()
        assert again["load_duration"] > 50_000_000  # a real load, not a look-up
        assert client.get("/api/ps").json()["models"][0]["name"] == MODEL
        assert engine_pid(own_farm) != first


def test_keep_alive_is_sticky_until_the_model_is_loaded_anew(own_farm: Any) -> None:
    short = {"model": MODEL, "keep_alive": "150ms"}
    with httpx.Client(base_url=own_farm.back, timeout=60) as client:
        client.post("/api/generate", json=short)
        client.post("/api/generate", json={"model": MODEL})  # says nothing: 150 ms stay in force
        assert eventually(lambda: client.get("/api/ps").json() == {"models": []})
        client.post("/api/generate", json={"model": MODEL})  # loaded anew: an hour
        year = client.get("/api/ps").json()["models"][0]["expires_at"][:4]
        client.post("/api/generate", json={"model": MODEL, "keep_alive": -1})
        assert int(client.get("/api/ps").json()["models"][0]["expires_at"][:4]) > int(year) + 200


def test_unload_during_a_stream_waits_for_its_end(own_farm: Any) -> None:
    with httpx.Client(base_url=own_farm.url, timeout=60) as client:
        ask = {**ENDLESS, "options": {"num_predict": 40, "seed": 1}}
        with client.stream("POST", "/api/generate", json=ask) as answer:
            lines = answer.iter_lines()
            next(lines)
            client.post("/api/generate", json={"model": MODEL, "keep_alive": 0})
            *_, last = lines
        assert json.loads(last)["done"]
        assert eventually(lambda: client.get("/api/ps").json() == {"models": []})


# -- what breaks ----------------------------------------------------------------------------------


def test_a_killed_engine_ends_the_stream_with_an_error_and_comes_back(own_farm: Any) -> None:
    with httpx.Client(base_url=own_farm.url, timeout=60) as client:
        with client.stream("POST", "/api/generate", json={**ENDLESS, "options": OPTIONS}) as answer:
            lines = answer.iter_lines()
            next(lines)
            os.kill(engine_pid(own_farm), signal.SIGKILL)
            *_, last = lines
        assert json.loads(last) == {
            "error": "an error was encountered while running the model: unexpected EOF"
        }
        told = client.post("/api/generate", json={**ENDLESS, "stream": False, "options": {"num_predict": 2}})
        assert told.json()["eval_count"] == 2


def test_kill_9_leaves_no_orphan(own_farm: Any) -> None:
    engine = engine_pid(own_farm)
    own_farm.process.kill()
    own_farm.process.wait(10)
    assert eventually(lambda: not alive(engine))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cuts_streams_and_ends_with_0(own_farm: Any, number: signal.Signals) -> None:
    engine = engine_pid(own_farm)
    with (
        httpx.Client(base_url=own_farm.url, timeout=60) as client,
        client.stream("POST", "/api/generate", json={**ENDLESS, "options": OPTIONS}) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        own_farm.process.send_signal(number)
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)  # cut, not ended
    assert own_farm.process.wait(10) == 0
    assert not alive(engine)


def test_a_used_port_is_named(own_farm: Any) -> None:
    port = own_farm.url.rpartition(":")[2]
    argv = [sys.executable, "-m", "farm", "--mode", "embedded", "--back-port", "0", "--front-port", port]
    ended = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    for word in (f"port {port} is in use by python", f"process {own_farm.process.pid}", "--front-port"):
        assert word in ended.stderr


def test_the_script_path_works_from_anywhere(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "farm" / "ollama_farm.py"
    argv = [sys.executable, str(script), "--mode", "cloud"]
    ended = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "auto, docker, local, embedded" in ended.stderr
