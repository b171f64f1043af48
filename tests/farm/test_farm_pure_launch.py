"""farm.launch: the command of an Ollama, as data; farm.machine: what is read out of what commands print."""

from __future__ import annotations

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from farm import machine
from farm.launch import IMAGE, LABEL, MARK, ROCM_IMAGE, Gpu, Launch, Wanted, container, docker, local
from farm.machine import Card, Machine, Models

WANTED = Wanted(11434, 4, -1, "1h", 4096, "/m")
ALWAYS = {
    "OLLAMA_NUM_PARALLEL": "4", "OLLAMA_NUM_GPU_LAYERS": "-1", "OLLAMA_KEEP_ALIVE": "1h",
    "OLLAMA_CONTEXT_LENGTH": "4096",
}  # fmt: skip


def wanted(**changes: Any) -> Wanted:
    return replace(WANTED, **changes)


# -- on this machine -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "environment"),
    [
        ({}, Gpu.NONE, {}),
        ({"port": 11500}, Gpu.NONE, {"OLLAMA_HOST": "127.0.0.1:11500", MARK: "11500"}),
        ({"parallel": 8}, Gpu.NONE, {"OLLAMA_NUM_PARALLEL": "8"}),
        ({"parallel": 1}, Gpu.NONE, {"OLLAMA_NUM_PARALLEL": "1"}),
        ({"gpu_layers": 0}, Gpu.NONE, {"OLLAMA_NUM_GPU_LAYERS": "0"}),
        ({"gpu_layers": 20}, Gpu.NVIDIA, {"OLLAMA_NUM_GPU_LAYERS": "20"}),
        ({"keep_alive": "-1s"}, Gpu.NONE, {"OLLAMA_KEEP_ALIVE": "-1s"}),
        ({"ctx": 8192}, Gpu.NONE, {"OLLAMA_CONTEXT_LENGTH": "8192"}),
        ({"models": "/a b"}, Gpu.NONE, {"OLLAMA_MODELS": "/a b/models"}),
        ({"store": "/blobs"}, Gpu.NONE, {"OLLAMA_MODELS": "/blobs"}),
        ({"shared": True}, Gpu.NONE, {"OLLAMA_NOPRUNE": "1"}),
        ({"device": "GPU-1"}, Gpu.NVIDIA, {"CUDA_VISIBLE_DEVICES": "GPU-1"}),
        ({"device": "0"}, Gpu.AMD, {"ROCR_VISIBLE_DEVICES": "0"}),
        ({"device": "0"}, Gpu.JETSON, {"CUDA_VISIBLE_DEVICES": "0"}),
        ({"image": "mine:1"}, Gpu.NONE, {}),
    ],
)
def test_an_ollama_of_this_machine(changes, kind, environment):
    made = local("/bin/ollama", wanted(**changes), kind)
    usual = {**ALWAYS, "OLLAMA_HOST": "127.0.0.1:11434", "OLLAMA_MODELS": "/m/models", MARK: "11434"}
    expected = {name: value for name, value in {**usual, **environment}.items() if value is not None}
    assert made == Launch(("/bin/ollama", "serve"), expected)


def test_what_is_shown_can_be_typed():
    made = local("/opt/my ollama", wanted(models="/it's here"), Gpu.NONE)
    *settings, binary, serve = shlex.split(made.shown())
    assert [binary, serve] == ["/opt/my ollama", "serve"]
    assert dict(pair.split("=", 1) for pair in settings) == made.environment


HOME = "/root"
"""Inside the container."""


# -- in a container --------------------------------------------------------------------------


def contained(kind: Gpu = Gpu.NONE, inherited: dict[str, str] | None = None, **changes: Any) -> Launch:
    return docker("docker", wanted(**changes), kind, inherited or {})


def values(made: Launch, flag: str) -> list[str]:
    """What stands behind each of these flags, in front of the image."""
    return [value for name, value in pairwise(made.argv) if name == flag]


def environment(made: Launch) -> dict[str, str]:
    """What `-e` sets; a name alone hands the farm's own value on."""
    return dict(pair.split("=", 1) for pair in values(made, "-e") if "=" in pair)


def test_a_container_ends_with_its_client_and_is_reached_from_this_machine_alone():
    made = contained(port=11500)
    assert made.argv[:3] == ("docker", "run", "--rm")
    assert values(made, "--name") == [container(11500)] == ["ollama-farm-11500"]
    assert values(made, "--label") == [f"{LABEL}=11500"]
    assert values(made, "-p") == ["127.0.0.1:11500:11434"]
    assert made.undo == ("docker", "rm", "-f", "ollama-farm-11500")
    assert made.environment == {}
    assert made.argv[-1] == made.image == IMAGE


def test_a_container_has_the_same_settings_but_not_the_mark_of_processes():
    assert environment(contained()) == {**ALWAYS, "OLLAMA_HOST": "0.0.0.0"}
    assert environment(contained(parallel=1, shared=True)) == {
        "OLLAMA_HOST": "0.0.0.0", "OLLAMA_NUM_PARALLEL": "1", "OLLAMA_NUM_GPU_LAYERS": "-1",
        "OLLAMA_KEEP_ALIVE": "1h", "OLLAMA_CONTEXT_LENGTH": "4096", "OLLAMA_NOPRUNE": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "device", "flags"),
    [
        (Gpu.NONE, None, []),
        (Gpu.NONE, "GPU-1", []),
        (Gpu.NVIDIA, None, ["--gpus", "all"]),
        (Gpu.NVIDIA, "GPU-1", ["--gpus", "device=GPU-1"]),
        (Gpu.AMD, None, ["--device", "/dev/kfd", "--device", "/dev/dri"]),
        (Gpu.AMD, "1", ["--device", "/dev/kfd", "--device", "/dev/dri", "-e", "ROCR_VISIBLE_DEVICES=1"]),
        (Gpu.JETSON, None, ["--runtime", "nvidia"]),
    ],
)
def test_a_container_is_given_the_gpu(kind, device, flags):
    made = contained(kind, device=device)
    start = made.argv.index("--label") + 2
    assert list(made.argv[start : start + len(flags)]) == flags
    assert made.argv[start + len(flags)] == "-e"
    assert not {"--gpus", "--device", "--runtime"} & set(made.argv[start + len(flags) :])


@pytest.mark.parametrize(
    ("kind", "asked", "image"),
    [
        (Gpu.NONE, "", IMAGE),
        (Gpu.NVIDIA, "", IMAGE),
        (Gpu.JETSON, "", IMAGE),
        (Gpu.AMD, "", ROCM_IMAGE),
        (Gpu.AMD, "mine:1", "mine:1"),
        (Gpu.NVIDIA, "mine:1", "mine:1"),
    ],
)
def test_the_image(kind, asked, image):
    made = contained(kind, image=asked)
    assert (made.argv[-1], made.image) == (image, image)


def test_a_jetson_s_image_is_told_its_jetpack():
    assert environment(docker("docker", WANTED, Gpu.JETSON, {}, "5"))["JETSON_JETPACK"] == "5"
    assert environment(docker("docker", WANTED, Gpu.JETSON, {}))["JETSON_JETPACK"] == "6"
    assert "JETSON_JETPACK" not in environment(docker("docker", WANTED, Gpu.NVIDIA, {}, "5"))


@pytest.mark.parametrize(
    ("changes", "mount"),
    [
        ({}, f"/m:{HOME}/.ollama"),
        ({"models": "/a b"}, f"/a b:{HOME}/.ollama"),
        ({"store": "/blobs"}, f"/blobs:{HOME}/.ollama/models"),
    ],
)
def test_models_are_kept_outside(changes, mount):
    assert values(contained(**changes), "-v") == [mount]


def test_the_owner_s_settings_go_into_the_container_except_what_the_farm_decides():
    inherited = {
        "OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_DEBUG": "1", "OLLAMA_HOST": "0.0.0.0:1", "OLLAMA_MODELS": "/x",
        MARK: "1", "OLLAMA_NUM_PARALLEL": "99", "OLLAMA_KEEP_ALIVE": "1s", "HOME": "/h", "PATH": "/bin",
    }  # fmt: skip
    made = contained(inherited=inherited | {"OLLAMA_API_KEY": "sk-secret"})
    named = [given for given in values(made, "-e") if "=" not in given]
    assert named == ["OLLAMA_API_KEY", "OLLAMA_DEBUG", "OLLAMA_FLASH_ATTENTION"]
    assert "sk-secret" not in made.shown()  # a command line is seen by everybody
    assert environment(made) == {**ALWAYS, "OLLAMA_HOST": "0.0.0.0"}


# -- the machine ---------------------------------------------------------------------------------

CARDS = [
    Card("0", "GPU-aa11", "A", "24 GiB"),
    Card("1", "GPU-bb22", "B", "24 GiB"),
    Card("2", "GPU-bb33", "C", "8"),
]


@pytest.mark.parametrize(
    ("cards", "amd", "jetson", "kind"),
    [
        ((), False, "", Gpu.NONE),
        (tuple(CARDS), False, "", Gpu.NVIDIA),
        (tuple(CARDS), True, "", Gpu.NVIDIA),
        ((), True, "", Gpu.AMD),
        (tuple(CARDS), True, "6", Gpu.JETSON),
        ((), False, "5", Gpu.JETSON),
    ],
)
def test_the_kind_of_gpu(cards, amd, jetson, kind):
    there = Machine("docker", "", True, cards, "", amd, jetson, None)
    assert there.gpu is kind


@pytest.mark.parametrize(
    ("named", "indices"),
    [
        (None, "012"),
        ("0", "0"),
        ("2,0", "20"),
        (" 1 , 2 ", "12"),
        ("GPU-aa", "0"),
        ("GPU-bb", "12"),
        ("GPU-bb33,0", "20"),
        ("", ""),
        ("-1", ""),
        ("7", ""),
        ("aa11", ""),
        ("0,,1", "01"),
    ],
)
def test_the_gpus_that_the_owner_leaves_visible(named, indices):
    assert "".join(card.index for card in machine.visible(CARDS, named)) == indices


@pytest.mark.parametrize(
    ("told", "names"),
    [
        ('{"runc":{},"nvidia":{}}\n', ["nvidia", "runc"]),
        ('{"runc":{}}["/etc/cdi"]', ["runc"]),
        ("{}", []),
        ("null", []),
        ("", []),
        ("permission denied", []),
        ("7", []),
    ],
)
def test_docker_s_runtimes(told, names):
    assert machine.runtimes_of(told) == names


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), ("\n \n", ""), ("a\nb", "a"), ("\n  why \nthen", "why")]
)
def test_the_first_line_of_what_a_command_said(text, line):
    assert machine._first_line(text) == line


def _store(folder: Path) -> Path:
    (folder / "models" / "blobs").mkdir(parents=True)
    return folder


def test_models_of_this_user_come_before_those_of_a_service(tmp_path):
    home, system, other = tmp_path / "home", tmp_path / "usr", tmp_path / "else"
    assert machine.models_dir(home, (system,), other) == other
    _store(system)
    assert machine.models_dir(home, (system,), other) == system
    (home / ".ollama" / "models").mkdir(parents=True)  # an empty one holds nothing
    assert machine.models_dir(home, (system,), other) == system
    (home / ".ollama" / "models" / "blobs").mkdir()
    assert machine.models_dir(home, (system,), other) == home / ".ollama"


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path, monkeypatch):
    system = _store(tmp_path / "usr")
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert machine.models_dir(tmp_path / "home", (system,), tmp_path / "else") == tmp_path / "else"


@pytest.mark.parametrize(
    ("given", "variable", "models"),
    [
        ("/given", None, Models("/given")),
        ("/given", "/variable", Models("/given")),
        (None, "/variable", Models("/variable", "/variable")),
        (None, "", None),
        (None, None, None),
    ],
)
def test_where_the_models_are(given, variable, models, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(machine, "SYSTEM_FOLDERS", ())
    monkeypatch.chdir(tmp_path)
    environment = {} if variable is None else {"OLLAMA_MODELS": variable}
    assert machine.models_of(given, environment) == (models or Models(str(tmp_path / "models")))


def test_a_folder_that_is_the_store_itself_is_taken_as_one(tmp_path):
    for name in ("blobs", "manifests"):
        (tmp_path / name).mkdir()
    found = machine.models_of(str(tmp_path), {})
    assert found == Models(str(tmp_path), str(tmp_path))
    assert str(found) == str(tmp_path)
    assert str(Models("/m")) == "/m/models"
