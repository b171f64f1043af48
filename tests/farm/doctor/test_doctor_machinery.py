"""Commands and devices, looked at through programs that stand in for them."""

from __future__ import annotations

import ast
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import fronts
import pytest

from farm import machine
from farm.doctor import limits, machinery
from farm.doctor.containers import Docker
from farm.doctor.graphics import Card
from farm.doctor.ollamas import Binary
from farm.doctor.servers import Unit
from farm.doctor.software import Choice, Engine

if TYPE_CHECKING:
    from conftest import Ward

FARM = Path(machine.__file__).parent


def test_a_command_that_does_not_answer_is_ended(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMAND_S", 0.2)
    command = ward.program(
        "slow", f'echo $$ >"{ward.folder}/pid"; exec 2>&-; read forever <"{ward.folder}/fifo"'
    )
    os.mkfifo(ward.folder / "fifo")
    assert machinery.ask(command) == (127, "", f"{command} did not answer within 0 s")
    pid = int((ward.folder / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_that_cannot_be_run(ward: Ward) -> None:
    path = ward.bin / "odd"
    assert machinery.ask(str(path)) == (127, "", f"{path}: No such file or directory")


# -- python and the engine -----------------------------------------------------------------------------------


def test_every_package_that_the_farm_imports_is_looked_for() -> None:
    imported = set()
    for path in FARM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module)
    roots = {name.partition(".")[0] for name in imported}
    optional = {"matplotlib", "xllamacpp"}
    assert roots - sys.stdlib_module_names - {"farm", "wire"} - optional == set(machinery.PACKAGES)


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machinery.packages().missing == ()
    there = {"psutil", "fastapi"}
    monkeypatch.setattr(machinery, "find_spec", lambda name: name if name in there else None)
    assert machinery.packages().missing == (
        "aiohttp", "httptools", "httpx", "prometheus-client", "requests", "uvicorn",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("script", "engine"),
    [
        ("exit 0", Engine(there=True)),
        ('echo "Traceback" >&2; echo "ImportError: libgomp.so.1: no" >&2; exit 1',
         Engine(there=True, trouble="ImportError: libgomp.so.1: no")),
        ("exit 3", Engine(there=True, trouble="exit code 3")),
        ("kill -ILL $$", Engine(there=True, trouble="signal 4 ended it; is it made for this processor?")),
    ],
)  # fmt: skip
def test_the_engine(ward: Ward, script: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "find_spec", lambda name: name)
    monkeypatch.setattr(machinery.sys, "executable", ward.program("python", script))
    assert machinery.engine() == engine
    assert ward.asked == ["python -c import xllamacpp"]


def test_no_engine_but_its_model(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "find_spec", lambda name: None)
    model = ward.folder / "cache" / "gpu-over-nkn" / machinery.SMOLLM2.name
    model.parent.mkdir(parents=True)
    model.touch()
    assert machinery.engine() == Engine(there=False, model_here=True)


# -- docker --------------------------------------------------------------------------------------------------


def test_no_docker(ward: Ward) -> None:
    assert machinery.docker(machinery.seen()) == Docker(there=False)
    assert machinery.containers() == ()


@pytest.mark.parametrize(
    ("variables", "docker"),
    [
        ({}, Docker(there=True, version="27.5.1", default_runtime="runc")),
        ({"STANDIN_NVIDIA_RUNTIME": "1"},
         Docker(there=True, version="27.5.1", default_runtime="runc", nvidia=True)),
        ({"DOCKER_HOST": "ssh://me:secret@far"},
         Docker(there=True, version="27.5.1", default_runtime="runc", elsewhere="ssh")),
        (
            {"DOCKER_HOST": "tcp://127.0.0.1:2375"},
            Docker(there=True, version="27.5.1", default_runtime="runc"),
        ),
        ({"DOCKER_HOST": "tcp://[::1"}, Docker(there=True, version="27.5.1", default_runtime="runc")),
        ({"DOCKER_HOST": "unix:///run/x.sock"}, Docker(there=True, version="27.5.1", default_runtime="runc")),
    ],
)  # fmt: skip
def test_docker(
    ward: Ward, variables: dict[str, str], docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.standin("docker")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machinery.docker(machinery.seen()) == docker


@pytest.mark.parametrize(
    ("down", "words"),
    [
        ("1", "Cannot connect to the Docker daemon"),
        ("permission", "permission denied while trying to connect"),
    ],
)
def test_a_docker_that_does_not_answer(
    ward: Ward, down: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.standin("docker")
    monkeypatch.setenv("STANDIN_DOCKER_DOWN", down)
    docker = machinery.docker(machinery.seen())
    assert docker.trouble.startswith(words)
    assert (docker.version, machinery.containers()) == ("", ())


def test_membership_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    me = pwd.getpwuid(os.getuid()).pw_name
    groups = {"docker": SimpleNamespace(gr_mem=[me]), "other": SimpleNamespace(gr_mem=["x"])}
    monkeypatch.setattr(grp, "getgrnam", lambda name: groups[name])
    assert [machinery._is_member(name) for name in ("docker", "other", "none")] == [True, False, False]


@pytest.mark.parametrize(
    "script", ["exit 1", "exit 0", 'case $1 in ps) echo abc;; inspect) echo "no json";; esac']
)
def test_no_containers(ward: Ward, script: str) -> None:
    ward.program("docker", script)
    assert machinery.containers() == ()


def test_containers_of_another_machine_are_left_out(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.program("docker", "echo abc")
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    assert (machinery.containers(), ward.asked) == ((), [])


def test_containers_that_vanish_are_left_out(ward: Ward) -> None:
    told = '[{"Name": "/a", "State": {"Running": true}}]'
    ward.program("docker", f"case $1 in ps) echo abc; echo def;; inspect) echo '{told}'; exit 1;; esac")
    assert [one.name for one in machinery.containers()] == ["a"]
    assert ward.asked == ["docker ps --all --quiet --no-trunc", "docker inspect abc def"]


# -- what the farm would do ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "variables", "choice"),
    [
        ((), {}, Choice("")),
        (("ollama",), {}, Choice("local")),
        (("docker", "ollama"), {}, Choice("docker")),
        (("docker", "ollama"), {"STANDIN_DOCKER_DOWN": "1"}, Choice("local")),
        (("docker", "nvidia-smi"), {"STANDIN_GPUS": "1"}, Choice("", blind=True)),
        (("docker", "nvidia-smi"), {"STANDIN_GPUS": "1", "STANDIN_NVIDIA_RUNTIME": "1"}, Choice("docker")),
        (("docker", "nvidia-smi", "ollama"), {"STANDIN_GPUS": "1"}, Choice("local")),
    ],
)
def test_what_the_farm_would_do(
    ward: Ward,
    names: tuple[str, ...],
    variables: dict[str, str],
    choice: Choice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ward.standin(*names)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machinery.chosen_way(fronts.plan(), machinery.seen()) == choice


# -- GPUs ----------------------------------------------------------------------------------------------------


def test_cards_and_who_has_their_memory(ward: Ward) -> None:
    ward.program(
        "nvidia-smi",
        """case $1 in
--query-gpu=*)
echo "0, GPU-a, NVIDIA X, 24564, 9000, 550.90"
echo "1, GPU-b, NVIDIA X, 24564, 24000, 550.90";;
--query-compute-apps=*) echo "GPU-a, 41, 15000, /usr/bin/python3";;
esac""",
    )
    assert machinery.cards() == (
        (Card("0", "NVIDIA X", 24564, 9000, (("python3", 41, 15000),)), Card("1", "NVIDIA X", 24564, 24000)),
        "550.90",
    )


@pytest.mark.parametrize("gpus", ["broken", "0"])
def test_no_cards(ward: Ward, gpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.standin("nvidia-smi")
    monkeypatch.setenv("STANDIN_GPUS", gpus)
    assert machinery.cards() == ((), "")
    seen = machinery.graphics(machinery.seen(), (), "")
    assert seen.smi
    assert seen.smi_trouble.startswith("NVIDIA-SMI has failed" if gpus == "broken" else "No devices")


def test_cards_without_details_are_told_all_the_same(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    ward.standin("nvidia-smi")
    monkeypatch.setenv("STANDIN_GPUS", "2")
    there = machinery.seen()
    assert machinery.cards()[0][1] == Card("1", "NVIDIA RTX A5000", 24564, 24564)
    assert machinery.graphics(there, (), "").cards == (
        Card("0", "NVIDIA RTX A5000"),
        Card("1", "NVIDIA RTX A5000"),
    )


def test_no_nvidia_smi(ward: Ward) -> None:
    assert machinery.cards() == ((), "")
    assert not machinery.graphics(machinery.seen(), (), "").smi


def test_adapters(tmp_path: Path) -> None:
    devices: tuple[tuple[str, dict[str, Any]], ...] = (
        ("gpu", {"class": "0x030200\n", "vendor": "0x10de\n"}),
        ("built-in", {"class": "0x030000\n", "vendor": "0x1002\n"}),
        ("sound", {"class": "0x040300\n", "vendor": "0x10de\n"}),
        ("intel", {"class": "0x030000\n", "vendor": "0x8086\n"}),
        ("half", {"class": "0x030000\n"}),
    )
    for name, files in devices:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert machinery.adapters(tmp_path) == {"nvidia", "amd"}
    assert machinery.adapters(tmp_path / "none") == set()


# -- ollama and its service ----------------------------------------------------------------------------------


def test_the_command(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machinery.binary() is None
    ward.standin("ollama")
    assert machinery.binary() == Binary(str(ward.bin / "ollama"), "0.24.0")
    other = ward.program("other", 'echo "Warning: client version is 0.9.1"')
    monkeypatch.setenv("OLLAMA_BINARY", other)
    assert machinery.binary() == Binary(other, "0.9.1")


def test_the_service(ward: Ward) -> None:
    assert machinery.unit() is None
    ward.program("systemctl", "echo LoadState=loaded; echo ActiveState=active; echo MainPID=5")
    assert machinery.unit() == Unit("active", 5)
    assert ward.asked == [
        "systemctl show ollama.service --property=LoadState,ActiveState,MainPID,Environment --no-pager"
    ]
    ward.program("systemctl", "echo no systemd >&2; exit 1")
    assert machinery.unit() is None
