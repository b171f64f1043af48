"""The containers of the stand-in docker: their state in a folder, their processes in sessions of their own.

A shim starts `ollama serve` in the container's name, waits for its end and writes down how it ended, as the
real one's shim does: no client has to live for that. Standard library only; called by `bin/docker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standin import daemon

OLLAMA = Path(__file__).with_name("bin") / "ollama"
POLL_S = 0.02
_KEPT = ("STANDIN_", "PATH", "LANG", "PYTHON")
START_S = 10.0


class DaemonError(Exception):
    """The daemon's words."""


@dataclass
class Container:
    """`pid`: that of its `ollama serve`, 0 while it does not run; `ports`: host address → its own port."""

    id: str
    name: str
    image: str
    labels: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    host_config: dict[str, Any] = field(default_factory=dict)
    remove: bool = False
    status: str = "created"
    pid: int = 0
    shim: int = 0
    code: int = 0
    created: str = ""

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def listens(self) -> str:
        """The host address that leads to Ollama's port."""
        return next((host for host, port in self.ports.items() if port == 11434), "127.0.0.1:0")

    @property
    def inspected(self) -> dict[str, Any]:
        bindings = {}
        for host, port in self.ports.items():
            address, _, number = host.rpartition(":")
            bindings[f"{port}/tcp"] = [{"HostIp": address, "HostPort": number}]
        env = [f"{key}={value}" for key, value in self.env.items()]
        return {
            "Id": self.id, "Created": self.created, "Name": f"/{self.name}",
            "State": {
                "Status": self.status, "Running": self.running, "Pid": self.pid, "ExitCode": self.code,
                "OOMKilled": False, "Error": "",
            },
            "Image": "sha256:" + self.id[::-1],
            "Config": {"Image": self.image, "Labels": self.labels, "Env": env},
            "HostConfig": {"AutoRemove": self.remove, "PortBindings": bindings, **self.host_config},
            "NetworkSettings": {"Ports": bindings if self.running else {}},
        }  # fmt: skip


class State:
    """The folder of all containers and images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> Iterator[Container]:
        for file in sorted(self.folder.glob("*.json"), key=lambda one: -one.stat().st_ctime_ns):
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                yield Container(**json.loads(file.read_text(encoding="utf-8")))

    def find(self, name: str) -> Container:
        for one in self.all():
            if name and (name.lstrip("/") == one.name or one.id.startswith(name)):
                return one
        raise DaemonError(f"No such container: {name}")

    def known(self, name: str) -> bool:
        with contextlib.suppress(DaemonError):
            return bool(self.find(name))
        return False

    def write(self, one: Container) -> None:
        new = self.folder / f"{one.id}.new"
        new.write_text(json.dumps(asdict(one)), encoding="utf-8")
        new.replace(self.folder / f"{one.id}.json")

    def forget(self, one: Container) -> None:
        (self.folder / f"{one.id}.json").unlink(missing_ok=True)

    def log(self, one: Container) -> Path:
        return self.folder / f"{one.id}.log"

    def store(self, one: Container) -> Path:
        """The folder that is its user's .ollama: a folder of the host, a named volume, or its own."""
        for bind in one.host_config.get("Binds", []):
            source, _, inside = bind.partition(":")
            if inside.partition(":")[0].endswith("/.ollama"):
                return Path(source) if source.startswith("/") else self.folder / "volumes" / source
        return self.folder / "volumes" / one.id

    def there(self, one: Container) -> Container | None:
        with contextlib.suppress(DaemonError):
            return self.find(one.id)
        return None

    @property
    def images(self) -> list[str]:
        file = self.folder / "images"
        return file.read_text(encoding="utf-8").split() if file.exists() else []

    def add_image(self, name: str) -> None:
        (self.folder / "images").write_text("\n".join({*self.images, name}), encoding="utf-8")


def make(state: State, one: Container) -> None:
    """Enter it; a name that is taken is refused."""
    for other in state.all():
        if other.name == one.name:
            raise DaemonError(
                f'Conflict. The container name "/{one.name}" is already in use by container "{other.id}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
    one.created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    state.write(one)


def start(state: State, one: Container, env: Mapping[str, str]) -> None:
    """Start its shim, which is nobody's child, and wait until its program runs."""
    try:
        _check_driver(one, env)
        _check_port(one)
    except DaemonError:
        if one.remove:
            state.forget(one)
        raise
    state.log(one).touch()
    argv = [sys.executable, str(OLLAMA.with_name("docker")), "_shim", str(state.folder), one.id]
    daemon.launch(state.folder, argv, _inside(one, env))
    deadline = time.monotonic() + START_S
    while (now := state.there(one)) is not None and not now.pid and now.status == "created":
        if time.monotonic() > deadline:
            raise DaemonError("the stand-in's shim did not start")
        time.sleep(POLL_S)


def _inside(one: Container, env: Mapping[str, str]) -> dict[str, str]:
    """What its program finds: nothing of the client's environment but what steers the stand-in."""
    kept = {name: value for name, value in env.items() if name.startswith(_KEPT)}
    return kept | one.env


def _check_driver(one: Container, env: Mapping[str, str]) -> None:
    if env.get("STANDIN_NO_GPU_DRIVER") == "1" and one.host_config.get("DeviceRequests"):
        raise DaemonError('could not select device driver "" with capabilities: [[gpu]]')


def _check_port(one: Container) -> None:
    host, _, port = one.listens.rpartition(":")
    if port == "0":
        return
    try:
        socket.create_server((host, int(port))).close()
    except OSError:
        raise DaemonError(
            f"driver failed programming external connectivity on endpoint {one.name} ({one.id}): "
            f"Bind for {one.listens} failed: port is already allocated"
        ) from None


def shim(state: State, one: Container) -> None:
    """Run its program to the end and write that down; with it ends all that it started."""
    host, _, port = one.listens.rpartition(":")
    models = state.store(one) / "models"
    inside = {"OLLAMA_HOST": f"{host}:{port}", "OLLAMA_MODELS": str(models), "STANDIN_HOST_CHECK": "0"}
    with state.log(one).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, str(OLLAMA), "serve"], env={**os.environ, **inside}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    one.pid, one.shim, one.status = child.pid, os.getpid(), "running"
    state.write(one)
    code = child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    one.pid, one.status, one.code = 0, "exited", code if code >= 0 else 128 - code
    (state.folder / f"{one.id}.code").write_text(str(one.code), encoding="utf-8")
    if one.remove:
        state.forget(one)
    else:
        state.write(one)


def send(one: Container, number: int) -> None:
    if not one.running:
        raise DaemonError(f"cannot kill container: {one.id}: container {one.id} is not running")
    with contextlib.suppress(ProcessLookupError):
        os.kill(one.pid, number)


def wait(state: State, one: Container, within_s: float | None = None) -> int | None:
    """Its exit status, or None when it still runs after that time."""
    deadline = None if within_s is None else time.monotonic() + within_s
    while (now := state.there(one)) is not None and now.status in {"running", "created"}:
        if deadline is not None and time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)
    if now is not None:
        return now.code
    file = state.folder / f"{one.id}.code"
    return int(file.read_text(encoding="utf-8")) if file.exists() else 0


def stop(state: State, one: Container, within_s: float) -> None:
    """SIGTERM, and after that time SIGKILL."""
    if not one.running:
        return
    send(one, signal.SIGTERM)
    if wait(state, one, within_s) is None:
        send(one, signal.SIGKILL)
        wait(state, one)


def passes(one: Container, filters: list[str]) -> bool:
    """Filters of one key are alternatives, those of different keys all hold; labels all hold."""
    told: dict[str, list[bool]] = {}
    for each in filters:
        key, _, value = each.partition("=")
        told.setdefault(each if key == "label" else key, []).append(_passes(one, key, value))
    return all(any(results) for results in told.values())


def _passes(one: Container, key: str, value: str) -> bool:
    if key == "label":
        name, equals, wanted = value.partition("=")
        return name in one.labels and (not equals or one.labels[name] == wanted)
    if key == "name":
        return re.search(value, f"/{one.name}") is not None or re.search(value, one.name) is not None
    if key == "publish":
        return any(host.rpartition(":")[2] == value.partition("/")[0] for host in one.ports)
    if key == "status":
        return one.status == value
    if key == "id":
        return one.id.startswith(value)
    if key == "ancestor":
        return one.image.partition(":")[0] == value.partition(":")[0]
    raise DaemonError(f"invalid filter '{key}'")
