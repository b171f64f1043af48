"""Every flag, as it reaches the command that is run: what `--dry-run` prints is what is started."""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any

import pytest
from lifestage import BIN, Stage, until

DOCKER, OLLAMA = str(BIN / "docker"), str(BIN / "ollama")
UUIDS = [f"GPU-00000000-0000-0000-0000-{index:012}" for index in range(4)]


def commands(told: str) -> list[str]:
    return [line for line in told.splitlines() if not line.startswith("#")]


def options(argv: list[str], name: str) -> list[str]:
    return [value for flag, value in pairwise(argv) if flag == name]


def environment(argv: list[str]) -> dict[str, str]:
    """What `-e` sets."""
    return dict(pair.split("=", 1) for pair in options(argv, "-e") if "=" in pair)


def usual(stage: Stage) -> dict[str, str]:
    return {
        "OLLAMA_NUM_PARALLEL": "4", "OLLAMA_NUM_GPU_LAYERS": "-1", "OLLAMA_KEEP_ALIVE": "1h",
        "OLLAMA_CONTEXT_LENGTH": "4096",
    }  # fmt: skip


FLAGS: list[tuple[list[str], dict[str, str | None]]] = [
    ([], {}),
    (["--num-parallel", "9"], {"OLLAMA_NUM_PARALLEL": "9"}),
    (["--num-parallel", "1"], {"OLLAMA_NUM_PARALLEL": "1"}),
    (["--gpu-layers", "20"], {"OLLAMA_NUM_GPU_LAYERS": "20"}),
    (["--keepalive", "90m"], {"OLLAMA_KEEP_ALIVE": "90m"}),
    (["--keepalive=-1s"], {"OLLAMA_KEEP_ALIVE": "-1s"}),
    (["--ctx", "8192"], {"OLLAMA_CONTEXT_LENGTH": "8192"}),
]


@pytest.mark.parametrize(("flags", "change"), FLAGS, ids=lambda given: " ".join(given) or "none")
def test_flags_of_a_container_and_of_a_process(
    stage: Stage, flags: list[str], change: dict[str, str | None]
) -> None:
    told = {key: value for key, value in (usual(stage) | change).items() if value is not None}
    port = stage.back_port

    (line,) = commands(stage.dry("--mode", "docker", *flags))
    argv = shlex.split(line)
    assert argv[:6] == [DOCKER, "run", "--rm", "--name", f"ollama-farm-{port}", "--label"]
    assert argv[6] == f"io.gpu-over-nkn.farm={port}"
    assert environment(argv) == {"OLLAMA_HOST": "0.0.0.0", **told}
    assert options(argv, "-p") == [f"127.0.0.1:{port}:11434"]
    assert options(argv, "-v") == [f"{stage.models}:" + "/root" + "/.ollama"]
    assert argv[-1] == "ollama/ollama:latest"
    assert "--gpus" not in argv

    (line,) = commands(stage.dry("--mode", "local", *flags))
    *pairs, program, serve = shlex.split(line)
    assert [program, serve] == [OLLAMA, "serve"]
    assert dict(pair.split("=", 1) for pair in pairs) == {
        "OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": f"{stage.models}/models",
        "OLLAMA_FARM_PORT": str(port), **told,
    }  # fmt: skip


GPU = {"STANDIN_GPUS": "2", "STANDIN_NVIDIA_RUNTIME": "1"}


@pytest.mark.parametrize(
    ("flags", "env", "given", "image"),
    [
        ([], GPU, ["all"], "ollama/ollama:latest"),
        (["--gpu-layers", "20"], GPU, ["all"], "ollama/ollama:latest"),
        (["--gpu-layers", "0"], GPU, [], "ollama/ollama:latest"),
        (["--gpu-layers", "0"], {"STANDIN_GPUS": "2"}, [], "ollama/ollama:latest"),
        (["--image", "mine:1"], GPU, ["all"], "mine:1"),
        ([], {"STANDIN_GPUS": "broken", "STANDIN_NVIDIA_RUNTIME": "1"}, [], "ollama/ollama:latest"),
    ],
)
def test_gpus_of_a_container(
    stage: Stage, flags: list[str], env: dict[str, str], given: list[str], image: str
) -> None:
    told = stage.dry("--mode", "docker", *flags, **env)
    (line,) = commands(told)
    argv = shlex.split(line)
    assert (options(argv, "--gpus"), argv[-1]) == (given, image)
    assert ("# GPU enabled (--gpus all), layers=" in told) is bool(given)
    assert ("# no NVIDIA or AMD GPU is used" in told) is not bool(given)


def test_variables_of_the_owner_go_into_the_container(stage: Stage) -> None:
    own = {"OLLAMA_ORIGINS": "http://x y", "OLLAMA_HOST": "0.0.0.0:1", "OLLAMA_NUM_PARALLEL": "77"}
    (line,) = commands(stage.dry("--mode", "docker", **own))
    assert "http" not in line, "its value is in the environment, where `ps` does not show it"
    argv = shlex.split(line)
    assert "OLLAMA_ORIGINS" in options(argv, "-e")
    told = environment(argv)
    assert (told["OLLAMA_HOST"], told["OLLAMA_NUM_PARALLEL"]) == ("0.0.0.0", "4")


@pytest.mark.parametrize("gpus", [2, 4])
def test_a_backend_for_each_gpu(stage: Stage, gpus: int) -> None:
    env = {"STANDIN_GPUS": str(gpus), "STANDIN_NVIDIA_RUNTIME": "1"}
    ports = range(stage.back_port, stage.back_port + gpus)

    told = stage.dry("--mode", "docker", "--per-gpu", **env)
    assert "# GPU enabled (one backend for each), layers=-1, num_parallel=4 for each GPU" in told
    for line, port, uuid in zip(commands(told), ports, UUIDS, strict=False):
        argv = shlex.split(line)
        assert options(argv, "--gpus") == [f"device={uuid}"]
        assert options(argv, "--name") == [f"ollama-farm-{port}"]
        assert options(argv, "-p") == [f"127.0.0.1:{port}:11434"]
        assert environment(argv)["OLLAMA_NOPRUNE"] == "1"
    assert len(commands(told)) == gpus

    lines = commands(stage.dry("--mode", "local", "--per-gpu", **env))
    assert len(lines) == gpus
    for line, port, uuid in zip(lines, ports, UUIDS, strict=False):
        pairs = dict(pair.split("=", 1) for pair in shlex.split(line)[:-2])
        assert pairs["OLLAMA_HOST"] == f"127.0.0.1:{port}"
        assert (pairs["CUDA_VISIBLE_DEVICES"], pairs["OLLAMA_NOPRUNE"]) == (uuid, "1")
        assert pairs["OLLAMA_FARM_PORT"] == str(port)


@pytest.mark.parametrize(
    ("named", "given"),
    [("1", [1]), ("3,0", [3, 0]), (UUIDS[2], [2]), ("0,7", [0])],
)
def test_only_the_gpus_that_the_owner_lets_see(stage: Stage, named: str, given: list[int]) -> None:
    env = {"STANDIN_GPUS": "4", "CUDA_VISIBLE_DEVICES": named}
    lines = commands(stage.dry("--mode", "local", "--per-gpu", **env))
    assert [word for line in lines for word in shlex.split(line) if word.startswith("CUDA")] == [
        f"CUDA_VISIBLE_DEVICES={UUIDS[index]}" for index in given
    ]


def test_a_dry_run_changes_nothing(stage: Stage) -> None:
    for mode in ("auto", "docker", "local"):
        made = stage.run("python", "-m", "farm", *stage.flags("--mode", mode, "--dry-run"))
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout == stage.dry("--mode", mode)
    assert not stage.models.exists()
    assert list((stage.folder / "home").iterdir()) == []
    assert {line["argv"][1] for line in stage.log("docker")} <= {"info", "ps"}
    assert stage.log("serve") == []


def test_the_embedded_engine_of_a_dry_run(stage: Stage) -> None:
    told = stage.run("python", "-m", "farm", "--mode", "embedded", "--num-parallel", "3", "--dry-run")
    (line,) = commands(told.stdout)
    argv = shlex.split(line)
    assert argv[1:3] == ["-m", "farm.engine"]
    assert '"slots": 3' in argv[3]
    assert list((stage.folder / "home").iterdir()) == []


# -- and so it is run -------------------------------------------------------------------------------------


def recorded(stage: Stage, what: str) -> list[dict[str, Any]]:
    return [line for line in stage.log(what) if what == "serve" or line["argv"][1] == "run"]


def test_a_container_is_run_as_the_dry_run_says(stage: Stage) -> None:
    stage.daemon()
    flags = ["--mode", "docker", "--num-parallel", "9", "--gpu-layers", "20", "--ctx", "2048"]
    given = {**GPU, "OLLAMA_ORIGINS": "http://x"}
    (line,) = commands(stage.dry(*flags, **given))
    with stage.farm(*flags, **given).ready() as farm:
        (call,) = recorded(stage, "docker")
        assert call["argv"] == shlex.split(line)
        assert stage.containers() == [f"ollama-farm-{stage.back_port}"]
        (serve,) = stage.log("serve")
        assert serve["env"]["OLLAMA_NUM_PARALLEL"] == "9"
        assert serve["env"]["OLLAMA_ORIGINS"] == "http://x"
        assert farm.health()["slots"] == 9
        assert farm.end() == 0
    assert until(stage.clean)
    assert "GPU enabled (--gpus all), layers=20, num_parallel=9" in farm.told


def test_a_process_is_run_as_the_dry_run_says(stage: Stage) -> None:
    flags = ["--mode", "local", "--num-parallel", "2", "--keepalive", "5m"]
    (line,) = commands(stage.dry(*flags))
    *pairs, program, serve = shlex.split(line)
    with stage.farm(*flags).ready() as farm:
        (call,) = stage.log("serve")
        assert call["argv"] == [program, serve]
        assert call["env"] == dict(pair.split("=", 1) for pair in pairs)
        assert farm.end() == 0
    assert until(stage.clean)


def test_backends_for_two_gpus_are_run(stage: Stage) -> None:
    flags = ["--mode", "local", "--per-gpu", "--num-parallel", "3"]
    with stage.farm(*flags, STANDIN_GPUS="2").ready() as farm:
        health = farm.health()
        assert (health["slots"], len(health["backends"])) == (6, 2)
        called = [call["env"] for call in stage.log("serve")]
        devices = {env["OLLAMA_HOST"]: env["CUDA_VISIBLE_DEVICES"] for env in called}
        assert devices == {
            f"127.0.0.1:{stage.back_port}": UUIDS[0], f"127.0.0.1:{stage.back_port + 1}": UUIDS[1],
        }  # fmt: skip
        assert farm.end() == 0
    assert until(stage.clean)


def test_the_front_and_the_load_of_a_dry_run(stage: Stage) -> None:
    """No Ollama reads OLLAMA_NUM_GPU_LAYERS: the load itself says it."""
    told = stage.dry("--mode", "local", "--gpu-layers", "7", "--host", "0.0.0.0", "--no-pull")
    front = f"0.0.0.0:{stage.front_port}"
    assert told.splitlines()[-1] == f"# then a is loaded with keep_alive=1h, num_gpu=7; front at {front}"
