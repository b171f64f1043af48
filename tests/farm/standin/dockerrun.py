"""`docker run` and `docker pull` of the stand-in: a container from a command line, attached or not."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from typing import Any

from standin import containers
from standin.containers import Container, DaemonError, State
from standin.template import complain, say

SEE_HELP = "\n\nRun 'docker run --help' for more information"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="docker run", add_help=False, allow_abbrev=False)
    for flags in (["-d", "--detach"], ["--rm"], ["-i", "--interactive"], ["-t", "--tty"], ["--init"]):
        parser.add_argument(*flags, action="store_true")
    many = (["-p", "--publish"], ["-e", "--env"], ["-v", "--volume"], ["-l", "--label"], ["--device"],
            ["--mount"], ["--security-opt"], ["--cap-drop"], ["--cap-add"], ["--tmpfs"],
            ["--ulimit"], ["--group-add"], ["--add-host"], ["--dns"])  # fmt: skip
    for flags in many:
        parser.add_argument(*flags, action="append", default=[])
    one = (
        "name gpus runtime network restart memory cpus shm-size pull user ipc stop-timeout stop-signal "
        "log-driver platform hostname pids-limit entrypoint"
    )
    for name in one.split():
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--sig-proxy", default="true")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--privileged", action="store_true")
    parser.add_argument("image")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _published(told: str) -> tuple[str, int]:
    *host, inside = told.removesuffix("/tcp").split(":")
    address = host[0] if len(host) == 2 else "0.0.0.0"
    return f"{address}:{host[-1]}", int(inside)


def _container(told: argparse.Namespace) -> Container:
    config: dict[str, Any] = {"Binds": told.volume, "Devices": told.device, "Runtime": told.runtime or "runc"}
    if told.gpus:
        config["DeviceRequests"] = [{"Driver": "", "Capabilities": [["gpu"]], "Options": told.gpus}]
    pairs = (each.partition("=") for each in told.env)
    env = {key: value if equals else os.environ.get(key, "") for key, equals, value in pairs}
    return Container(
        secrets.token_hex(32), told.name or f"quiet_{secrets.token_hex(4)}", told.image,
        {key: value for key, _, value in (each.partition("=") for each in told.label)}, env,
        dict(map(_published, told.publish)), config, told.rm,
    )  # fmt: skip


def run(state: State, argv: list[str]) -> int:
    told = _run_parser().parse_args(argv)
    if not has_image(state, told.image):
        complain(f"Unable to find image '{tagged(told.image)}' locally")
        if told.pull == "never" or pull(state, [told.image]):
            return 125
    one = _container(told)
    try:
        containers.make(state, one)
        containers.start(state, one, os.environ)
    except DaemonError as error:
        complain(f"docker: Error response from daemon: {error}{SEE_HELP}")
        return 125
    if told.detach:
        say(one.id)
        return 0
    return _attached(state, one, passing=told.sig_proxy != "false")


def _attached(state: State, one: Container, *, passing: bool) -> int:
    """Show what it prints until it ends; signals go to it, not to the client."""

    def pass_on(number: int, _: object) -> None:
        now = state.there(one)
        if now is not None and now.running:
            containers.send(now, number)

    for number in PASSED_ON if passing else ():
        signal.signal(number, pass_on)
    with state.log(one).open("rb") as log:
        code = None
        while code is None:
            code = containers.wait(state, one, 0)
            sys.stderr.buffer.write(log.read())
            sys.stderr.flush()
            if code is None:
                time.sleep(containers.POLL_S)
    return code


def tagged(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def image_of(state: State, name: str) -> dict[str, Any]:
    if not has_image(state, name):
        raise DaemonError(f"No such image: {tagged(name)}")
    return {"Id": f"sha256:{'0' * 64}", "RepoTags": [tagged(name)], "Os": "linux"}


def has_image(state: State, image: str) -> bool:
    return os.environ.get("STANDIN_NO_IMAGE") != "1" or tagged(image) in state.images


def pull(state: State, argv: list[str]) -> int:
    image = tagged(argv[-1])
    name, _, tag = image.rpartition(":")
    complain(f"{tag}: Pulling from {name}")
    time.sleep(float(os.environ.get("STANDIN_IMAGE_S", "0")))
    if words := os.environ.get("STANDIN_PULL_FAILS"):
        complain(f"Error response from daemon: {words}")
        return 1
    state.add_image(image)
    say(f"Status: Downloaded newer image for {image}\n{image}")
    return 0
