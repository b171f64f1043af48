"""Who answers on a port of this machine: Ollamas, farms, others, nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standin.ollama import Model, Standin

from farm.doctor import answers, asking, limits, processes
from farm.doctor.front import Front
from farm.doctor.servers import Answer, Kind, Listener, Loaded

if TYPE_CHECKING:
    from conftest import Ward

HEALTH: dict[str, Any] = {"status": "ready", "slots": 4, "backends": []}


@contextlib.contextmanager
def talker(said: dict[str, Any], host: str = "127.0.0.1") -> Iterator[int]:
    """A server that answers those paths with JSON (bytes: as they are), others with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in said
            value = said.get(self.path, "404 page not found")
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def raw(data: bytes) -> Iterator[int]:
    """A server that says these bytes to whoever comes, and waits; empty: nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


async def test_an_ollama_with_its_models() -> None:
    models = {"a": Model(size=7, loaded_size=100, vram=40), "b": Model(size=9)}
    async with Standin(models) as ollama:
        empty = await asyncio.to_thread(answers.identify, ollama.port)
        assert empty == Answer(
            ollama.url, ollama.port, Kind.OLLAMA, "0.24.0", models={"a:latest": 7, "b:latest": 9}
        )
        body = json.dumps({"model": "a"}).encode()
        await asyncio.to_thread(_post, ollama.port, body)
        busy = await asyncio.to_thread(answers.identify, ollama.port)
        assert busy is not None
        assert busy.loaded == (Loaded("a:latest", 100, 40),)


def _post(port: int, body: bytes) -> None:
    way = asking.connection(f"http://127.0.0.1:{port}", 20)
    way.request("POST", "/api/generate", body)
    way.getresponse().read()
    way.close()


OLLAMA = {"/api/version": {"version": "0.24.0"}}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"/_health": HEALTH}, {"kind": Kind.FARM, "health": HEALTH}),
        ({}, {"kind": Kind.OTHER}),
        ({"/api/version": {"version": 3}}, {"kind": Kind.OTHER}),
        ({"/api/version": ["x"]}, {"kind": Kind.OTHER}),
        (OLLAMA, {"kind": Kind.OLLAMA, "version": "0.24.0"}),
        (OLLAMA | {"/_engine": {"slots": 4}}, {"kind": Kind.OLLAMA, "version": "0.24.0", "embedded": True}),
        (OLLAMA | {"/api/ps": {"models": None}, "/api/tags": {"models": None}, "/_health": b"{"},
         {"kind": Kind.OLLAMA, "version": "0.24.0"}),
        (OLLAMA | {"/api/ps": {"models": [3, {"name": "a"}, {"name": "b", "size": 4, "size_vram": "x"}]},
                   "/api/tags": {"models": [3, {"name": 4}, {"name": "A", "size": 5}, {"name": "b"}]}},
         {"kind": Kind.OLLAMA, "version": "0.24.0", "loaded": (Loaded("b", 4, 0),),
          "models": {"a:latest": 5, "b:latest": 0}}),
    ],
)  # fmt: skip
def test_what_answers(said: dict[str, Any], told: dict[str, Any]) -> None:
    with talker(said) as port:
        assert answers.identify(port) == Answer(f"http://127.0.0.1:{port}", port, **told)


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_what_does_not_speak_http(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_S", 0.2)
    with raw(data) as port:
        assert answers.identify(port) is None


def test_nobody(free_port: Callable[[], int]) -> None:
    assert answers.identify(free_port()) is None


def test_an_ollama_that_loses_its_tongue(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(url: str, path: str, within_s: float) -> tuple[int, Any]:
        if path in {"/_health", "/api/version"}:
            return 200, {"version": "0.24.0"}
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(answers, "ask", ask)
    assert answers.identify(5) == Answer("http://127.0.0.1:5", 5, Kind.OLLAMA, "0.24.0")


@pytest.mark.parametrize(
    ("bound", "url"),
    [
        ([], "http://127.0.0.1:{}"),
        (["0.0.0.0"], "http://127.0.0.1:{}"),
        (["10.0.0.1", "::"], "http://127.0.0.1:{}"),
        (["127.0.0.2"], "http://127.0.0.2:{}"),
        (["::1"], "http://[::1]:{}"),
    ],
)
def test_where_a_port_is_asked(bound: list[str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ask", lambda *given: (404, None))
    listeners = [Listener(address, 5) for address in bound] + [Listener("127.0.0.1", 6)]
    assert answers.identify(5, listeners) == Answer(url.format(5), 5, Kind.OTHER)


def test_all_ollamas_and_a_farms_backends_are_asked_too(
    ward: Ward, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.looking, "orphans", lambda variable: [])
    port = free_port()
    with talker(OLLAMA) as back, talker({}) as unasked:
        urls = [f"http://127.0.0.1:{back}", "http://far.example:11434", "nonsense"]
        health = HEALTH | {"backends": [{"url": url} for url in urls]}
        with talker({"/_health": health}) as front, serving(ward, port) as serve:
            found = answers.servers([front])
    answered = {answer.port: answer.kind for answer in found.answers}
    assert {port: Kind.OLLAMA, back: Kind.OLLAMA, front: Kind.FARM}.items() <= answered.items()
    assert unasked not in answered
    assert [one.settings for one in found.serves if one.pid == serve.pid] == [
        {"OLLAMA_NUM_PARALLEL": "3", "OLLAMA_HOST": f"127.0.0.1:{port}"}
    ]
    (held,) = found.listening(port)
    assert (held.address, held.pid) == ("127.0.0.1", serve.pid)


def test_where_the_system_does_not_say_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise processes.psutil.AccessDenied

    monkeypatch.setattr(processes.psutil, "net_connections", refuse)
    with talker(OLLAMA) as port:
        found = answers.servers([port])
    assert found.listeners is None
    assert [answer.kind for answer in found.answers if answer.port == port] == [Kind.OLLAMA]


@contextlib.contextmanager
def serving(ward: Ward, port: int) -> Iterator[subprocess.Popen[bytes]]:
    ward.standin("ollama")
    environment = ward.environment | {
        "OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_API_KEY": "secret", "STANDIN_LIFE_S": "60",
    }  # fmt: skip
    argv = [str(ward.bin / "ollama"), "serve"]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while answers.identify(port) is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_what_a_farm_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not a real one: the next farm that starts on this machine would end it.
    own = processes.psutil.Process(os.getpid())
    found = {"OLLAMA_FARM_PORT": [own]}
    monkeypatch.setattr(processes.looking, "orphans", lambda variable: found[variable])
    assert processes.orphans() == ((own.name(), own.pid),)


@pytest.mark.parametrize(
    ("argv", "yes"),
    [
        (["/usr/bin/ollama", "serve"], True),
        (["python3", "/x/ollama", "serve"], True),
        (["C:\\Ollama\\ollama.exe", "serve"], True),
        (["ollama", "runner"], False),
        (["vim", "serve"], False),
        ([], False),
    ],
)
def test_what_is_a_serve(argv: list[str], yes: bool) -> None:
    assert processes._is_serve(argv) is yes


def test_an_environment_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: object) -> None:
        raise processes.psutil.AccessDenied

    monkeypatch.setattr(processes.psutil.Process, "environ", refuse)
    assert processes._settings(processes.psutil.Process(os.getpid())) is None


def test_containers_that_are_looked_after(ward: Ward) -> None:
    guard = ward.folder / "guard.py"
    guard.write_text("import sys; sys.stdin.read()")
    argv = ["python3", str(guard), '{"undo": ["docker", "rm", "-f", "ollama-farm-7"]}']
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        try:
            assert processes.guarded(["ollama-farm-7", "ollama-farm-8"]) == ("ollama-farm-7",)
        finally:
            process.kill()


# -- --front -------------------------------------------------------------------------------------------------


def test_a_farm_that_is_named() -> None:
    with talker({"/behind/_health": HEALTH}) as port:
        url = f"http://127.0.0.1:{port}/behind"
        assert asking.front(url) == Front(url, HEALTH)
        other = f"http://127.0.0.1:{port}"
        assert asking.front(other) == Front(other, trouble="GET /_health answers 404, which is not a farm's")


def test_a_farm_that_is_not_there(free_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert asking.front(url) == Front(url, trouble="Connection refused")


def test_a_farm_that_is_silent_or_talks_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAR_HTTP_S", 0.2)
    with raw(b"") as port:
        assert asking.front(f"http://127.0.0.1:{port}").trouble == "it does not answer in time"
    with raw(b"SSH-2.0\r\n") as port:
        assert asking.front(f"http://127.0.0.1:{port}").trouble == "no HTTP (BadStatusLine)"


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with talker({"/_health": HEALTH}) as port:
        assert asking.front(f"http://127.0.0.1:{port}").health == HEALTH


def test_tls_is_spoken_where_the_url_says_so() -> None:
    assert type(asking.connection("https://far.example/x", 1)).__name__ == "HTTPSConnection"


def test_listeners_have_names(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (own,) = [one for one in processes.listeners() or () if one.port == port]
    assert own.pid == os.getpid()
    assert own.name
