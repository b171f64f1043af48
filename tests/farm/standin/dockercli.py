"""The stand-in `docker` command: what is on its line, what it prints, how it exits.

STANDIN_STATE            folder of its containers; with `dockerd` started for it, clients adopt none of them
STANDIN_LOG              file that gets one JSON line per call
STANDIN_DOCKER_DOWN      1: no daemon; permission: one that may not be asked
STANDIN_NVIDIA_RUNTIME   1: `docker info` knows the runtime nvidia
STANDIN_NO_GPU_DRIVER    1: `--gpus` cannot be served
STANDIN_NO_IMAGE         1: no image is here until it is pulled; STANDIN_PULL_FAILS: words of a failed pull
STANDIN_IMAGE_S          seconds of the pull of an image
STANDIN_DOCKER_SLOW_S    seconds before each answer
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from standin import containers
from standin.containers import Container, DaemonError, State
from standin.dockerrun import SEE_HELP, image_of, pull, run
from standin.notes import note
from standin.template import complain, formatted, say

VERSION = "27.5.1"
_SOCKET = "unix:///var/run/docker.sock"
DOWN = f"Cannot connect to the Docker daemon at {_SOCKET}. Is the docker daemon running?"
DENIED = (
    f"permission denied while trying to connect to the Docker daemon socket at {_SOCKET}: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.47/info": dial unix /var/run/docker.sock: connect: '
    "permission denied"
)


def _info(argv: list[str]) -> int:
    runtimes: dict[str, Any] = {"io.containerd.runc.v2": {"path": "runc"}, "runc": {"path": "runc"}}
    if os.environ.get("STANDIN_NVIDIA_RUNTIME") == "1":
        runtimes["nvidia"] = {"path": "nvidia-container-runtime"}
    info = {
        "ServerVersion": VERSION, "OSType": "linux", "Architecture": "x86_64", "Runtimes": runtimes,
        "DefaultRuntime": "runc", "CgroupVersion": "2", "NCPU": 2, "MemTotal": 8 << 30,
        "OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "DockerRootDir": "/var/lib/docker",
        "SecurityOptions": ["name=seccomp,profile=builtin"], "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    }  # fmt: skip
    template = _format(argv)
    lines = f"Server:\n Server Version: {VERSION}\n Runtimes: {' '.join(runtimes)}\n Default Runtime: runc"
    say(formatted(template, info) if template else lines)
    return 0


def _version(argv: list[str]) -> int:
    side = {"Version": VERSION, "ApiVersion": "1.47", "Os": "linux", "Arch": "amd64"}
    template = _format(argv)
    plain = f"Client: Docker Engine - Community\n Version: {VERSION}\n\nServer:\n  Version: {VERSION}"
    say(formatted(template, {"Client": side, "Server": side}) if template else plain)
    return 0


def _format(argv: list[str]) -> str:
    for at, word in enumerate(argv):
        if word in {"-f", "--format"}:
            return argv[at + 1]
        if word.startswith("--format="):
            return word.partition("=")[2]
    return ""


def _ps(state: State, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="docker ps", add_help=False)
    for flags in (["-q", "--quiet"], ["-a", "--all"], ["--no-trunc"], ["-l", "--latest"]):
        parser.add_argument(*flags, action="store_true")
    parser.add_argument("-f", "--filter", action="append", default=[])
    parser.add_argument("--format", default="")
    told = parser.parse_args(argv)
    every = told.all or any(one.startswith("status=") for one in told.filter)
    there = [one for one in state.all() if every or one.running]
    shown = [one for one in there if containers.passes(one, told.filter)]
    if not told.quiet and not told.format:
        say("CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES")
    for one in shown:
        short = one.id if told.no_trunc else one.id[:12]
        status = "Up 1 second" if one.running else f"Exited ({one.code}) 1 second ago"
        status = "Created" if one.status == "created" else status
        ports = ", ".join(f"{host}->{port}/tcp" for host, port in one.ports.items())
        labels = ",".join(f"{key}={value}" for key, value in one.labels.items())
        row = {"ID": short, "Image": one.image, "Names": one.name, "Status": status, "State": one.status,
               "Ports": ports, "Labels": labels, "CreatedAt": one.created}  # fmt: skip
        line = f'{short}   {one.image}   "/bin/ollama serve"   1 second ago   {status}   {ports}   {one.name}'
        template = "{{json .}}" if told.format == "json" else told.format
        say(short if told.quiet else formatted(template, row) if template else line)
    return 0


def _each(state: State, names: list[str], what: Any) -> int:
    """Do something to each named container; go on after an error."""
    code = 0
    for name in names:
        try:
            what(state.find(name))
            say(name)
        except DaemonError as error:
            complain(f"Error response from daemon: {error}")
            code = 1
    return code


def _names(argv: list[str], *valued: str) -> tuple[list[str], dict[str, str]]:
    """The names on a line, and the values of its flags."""
    names, flags, words = [], {}, iter(argv)
    for word in words:
        key, equals, value = word.partition("=")
        if key in valued:
            flags[key] = value if equals else next(words)
        elif word.startswith("-"):
            flags[word] = ""
        else:
            names.append(word)
    return names, flags


def _stop(state: State, argv: list[str]) -> int:
    names, flags = _names(argv, "-t", "--time", "--timeout", "-s", "--signal")
    within = float(flags.get("-t") or flags.get("--time") or flags.get("--timeout") or 10)
    return _each(state, names, lambda one: containers.stop(state, one, within))


def _kill(state: State, argv: list[str]) -> int:
    names, flags = _names(argv, "-s", "--signal")
    told = (flags.get("-s") or flags.get("--signal") or "KILL").removeprefix("SIG")
    number = int(told) if told.isdigit() else signal.Signals[f"SIG{told}"].value
    return _each(state, names, lambda one: containers.send(one, number))


def _rm(state: State, argv: list[str]) -> int:
    names, flags = _names(argv)
    force = any(flag in {"-f", "--force", "-fv", "-vf"} for flag in flags)

    def remove(one: Container) -> None:
        if one.running and not force:
            raise DaemonError(
                f'cannot remove container "/{one.name}": container is running: stop the container before '
                "removing or force remove"
            )
        if one.running:
            containers.send(one, signal.SIGKILL)
            containers.wait(state, one)
        state.forget(one)

    unknown = {name for name in names if force and not state.known(name)}
    for name in sorted(unknown):
        complain(f"Error response from daemon: No such container: {name}")  # forced, it is no failure
    return _each(state, [name for name in names if name not in unknown], remove)


def _start(state: State, argv: list[str]) -> int:
    names, _ = _names(argv)

    def start(one: Container) -> None:
        if not one.running:
            one.status = "created"
            state.write(one)
            containers.start(state, one, os.environ)

    return _each(state, names, start)


def _inspect(state: State, argv: list[str], *, image: bool = False) -> int:
    names, flags = _names(argv, "-f", "--format", "--type")
    template, found, code = flags.get("-f") or flags.get("--format") or "", [], 0
    for name in names:
        try:
            found.append(image_of(state, name) if image else state.find(name).inspected)
        except DaemonError as error:
            words = f"Error response from daemon: {error}" if image else f"Error: No such object: {name}"
            complain(words)
            code = 1
    if template:
        say("\n".join(formatted(template, one) for one in found))
    else:
        say(json.dumps(found, indent=4))
    return code


def _logs(state: State, argv: list[str]) -> int:
    names, _ = _names(argv, "--tail", "-n", "--since")
    return _each_quiet(state, names)


def _each_quiet(state: State, names: list[str]) -> int:
    try:
        sys.stderr.write(state.log(state.find(names[-1])).read_text(encoding="utf-8"))
    except DaemonError as error:
        complain(f"Error response from daemon: {error}")
        return 1
    return 0


def main(argv: list[str]) -> int:
    """Exit status."""
    state = State(Path(os.environ.get("STANDIN_STATE") or ".standin-docker"))
    if argv[:1] == ["_shim"]:
        state = State(Path(argv[1]))
        containers.shim(state, state.find(argv[2]))
        return 0
    note("docker", sys.argv)
    time.sleep(float(os.environ.get("STANDIN_DOCKER_SLOW_S", "0")))
    if argv[:1] in (["--version"], ["-v"]):
        say(f"Docker version {VERSION}, build 9f9e405")
        return 0
    down = os.environ.get("STANDIN_DOCKER_DOWN")
    if down and down != "0":
        words = DENIED if down == "permission" else DOWN
        run = argv[:1] == ["run"]
        complain(f"docker: {words}{SEE_HELP}" if run else words)
        return 125 if run else 1
    return _command(state, argv)


def _command(state: State, argv: list[str]) -> int:
    if argv[:1] in (["container"], ["image"]):
        kind, argv = argv[0], argv[1:]
        argv = {"ls": ["ps"]}.get(argv[0], argv[:1]) + argv[1:]
        if kind == "image" and argv[0] == "inspect":
            return _inspect(state, argv[1:], image=True)
    name, rest = (argv[0] if argv else ""), argv[1:]
    if name in {"info", "version"}:
        return _info(rest) if name == "info" else _version(rest)
    commands = {"run": run, "ps": _ps, "stop": _stop, "kill": _kill, "rm": _rm, "inspect": _inspect,
                "pull": pull, "logs": _logs, "start": _start}  # fmt: skip
    if name not in commands:
        complain(f"docker: '{name}' is not a docker command.\nSee 'docker --help'")
        return 1
    return commands[name](state, rest)
