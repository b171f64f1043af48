"""Which way an Ollama is started on this machine, what is said when there is none, and where models are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lifestage import BIN, Stage

from farm import machine
from farm.machine import Models

EMBEDDED = "`--mode embedded` runs a small model"
GET = ("https://docs.docker.com/engine/install/", "https://ollama.com/download")


def has(stage: Stage, *names: str) -> dict[str, str]:
    """An environment in which only these stand-ins are there."""
    folder = stage.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).symlink_to(BIN / name)
    return {"PATH": stage.env["PATH"].replace(str(BIN), str(folder))}


@pytest.mark.parametrize(
    ("names", "env", "flags", "runs"),
    [
        (("docker", "ollama", "nvidia-smi"), {}, [], "docker run"),
        (("docker",), {}, [], "docker run"),
        (("docker", "ollama"), {}, ["--mode", "local"], "ollama serve"),
        (("ollama",), {}, [], "ollama serve"),
        (("docker", "ollama"), {"STANDIN_DOCKER_DOWN": "1"}, [], "ollama serve"),
        (("docker", "ollama", "nvidia-smi"), {"STANDIN_GPUS": "1"}, [], "ollama serve"),
        (("docker", "ollama", "nvidia-smi"), {"STANDIN_GPUS": "1"}, ["--gpu-layers", "0"], "docker run"),
        (
            ("docker", "ollama", "nvidia-smi"),
            {"STANDIN_GPUS": "1", "STANDIN_NVIDIA_RUNTIME": "1"},
            [],
            "docker run",
        ),
    ],
)
def test_what_is_taken(
    stage: Stage, names: tuple[str, ...], env: dict[str, str], flags: list[str], runs: str
) -> None:
    told = stage.dry(*flags, **env, **has(stage, *names))
    assert runs in told


def test_why_docker_is_passed_over_is_told(stage: Stage) -> None:
    told = stage.dry(STANDIN_DOCKER_DOWN="1")
    assert "# the local Ollama is used: Cannot connect to the Docker daemon at unix:" in told
    told = stage.dry(STANDIN_GPUS="1")
    assert "# the local Ollama is used: docker cannot hand this machine's NVIDIA GPU" in told
    assert "the local Ollama is used" not in stage.dry("--mode", "local", STANDIN_DOCKER_DOWN="1")


@pytest.mark.parametrize(
    ("names", "env", "flags", "words"),
    [
        ((), {}, [], ["neither docker (the docker command is not installed)", *GET, EMBEDDED]),
        (("docker",), {"STANDIN_DOCKER_DOWN": "1"}, [], ["Is the docker daemon running?", *GET, EMBEDDED]),
        (("docker",), {"STANDIN_DOCKER_DOWN": "permission"}, [], ["permission denied", *GET]),
        ((), {}, ["--mode", "docker"], ["--mode docker: the docker command is not installed", GET[0]]),
        (("docker",), {"STANDIN_DOCKER_DOWN": "1"}, ["--mode", "docker"], ["Is the docker daemon running?"]),
        (("docker",), {}, ["--mode", "local"], ["no `ollama` on PATH nor in $OLLAMA_BINARY", GET[1]]),
        (("docker", "nvidia-smi"), {"STANDIN_GPUS": "1"}, [], ["docker_ensure.sh", "--gpu-layers 0", GET[1]]),
        (("docker", "nvidia-smi"), {"STANDIN_GPUS": "1"}, ["--mode", "docker"], ["docker_ensure.sh"]),
        (("ollama",), {}, ["--per-gpu"], ["--per-gpu", "nvidia-smi lists none"]),
        (("ollama", "nvidia-smi"), {"STANDIN_GPUS": "broken"}, ["--per-gpu"], ["NVIDIA-SMI has failed"]),
        (
            ("ollama", "nvidia-smi"),
            {"STANDIN_GPUS": "2", "CUDA_VISIBLE_DEVICES": "5"},
            ["--per-gpu"],
            ["CUDA_VISIBLE_DEVICES=5 hides all"],
        ),
        (("ollama",), {"OLLAMA_BINARY": "/no/such/ollama"}, [], ["/no/such/ollama cannot be started"]),
    ],
)
def test_what_is_missing_is_one_sentence_with_its_remedy(
    stage: Stage, names: tuple[str, ...], env: dict[str, str], flags: list[str], words: list[str]
) -> None:
    code, out, err = stage.told(*flags, **env, **has(stage, *names))
    assert (code, out) == (1, "")
    *notes, told = err.splitlines()
    assert told.startswith("farm: ")
    assert all(note.startswith("farm: ") for note in notes), "no traceback"
    for word in words:
        assert word in told
    assert stage.clean()


def test_a_broken_driver_is_told_and_does_not_stop_the_farm(stage: Stage) -> None:
    told = stage.dry("--mode", "local", STANDIN_GPUS="broken")
    assert "no NVIDIA or AMD GPU is used (NVIDIA-SMI has failed because" in told


def test_a_docker_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    assert machine.ask("sleep", "5", within_s=0.05) == (127, "", "sleep did not answer within 0 s")


# -- where models are ---------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "SYSTEM_FOLDERS", (tmp_path / "system",))
    return tmp_path / "home"


def kept(folder: Path) -> str:
    (folder / "models" / "blobs").mkdir(parents=True)
    return str(folder)


def test_folders_in_their_order(home: Path, tmp_path: Path) -> None:
    assert machine.models_of(None, {}) == Models(str(tmp_path / "models"))
    system = kept(tmp_path / "system")
    assert machine.models_of(None, {}) == Models(system)
    own = kept(home / ".ollama")
    assert machine.models_of(None, {}) == Models(own)
    assert str(Models(own)) == f"{own}/models"


def test_a_folder_that_was_never_used_is_none(home: Path, tmp_path: Path) -> None:
    (home / ".ollama").mkdir(parents=True)  # holds a key and a history, no models
    assert machine.models_of(None, {}) == Models(str(tmp_path / "models"))


def test_the_owner_s_words_come_first(home: Path, tmp_path: Path) -> None:
    kept(home / ".ollama")
    own = {"OLLAMA_MODELS": str(tmp_path / "store")}
    assert machine.models_of(None, own) == Models(str(tmp_path / "store"), str(tmp_path / "store"))
    assert machine.models_of("~/x", own) == Models(str(home / "x"))
    assert machine.models_of("x", {}) == Models(str(tmp_path / "x"))
    assert machine.models_of(None, {"OLLAMA_MODELS": ""}) == Models(str(home / ".ollama"))


def test_a_folder_of_the_models_themselves_is_seen_as_such(home: Path) -> None:
    for name in ("blobs", "manifests"):
        (home / "store" / name).mkdir(parents=True)
    assert machine.models_of("~/store", {}) == Models(str(home / "store"), str(home / "store"))


def test_a_store_of_its_own_is_mounted_as_such(stage: Stage) -> None:
    store = str(stage.folder / "store")
    env = {"OLLAMA_MODELS": store}
    flags = ["--model", "a", "--front-port", str(stage.front_port), "--back-port", str(stage.back_port)]
    for mode, word in (
        ("docker", f"{store}:" + "/root" + "/.ollama/models"),
        ("local", f"OLLAMA_MODELS={store}"),
    ):
        told = stage.run("python", "-m", "farm", *flags, "--mode", mode, "--dry-run", **env)
        assert f" {word} " in f" {told.stdout}"
        assert f"# models are kept in {store}\n" in told.stdout


@contextmanager
def nobody() -> Iterator[None]:
    """As a user who may not look everywhere: root may."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_folders_that_may_not_be_looked_into_are_passed_over(home: Path, tmp_path: Path) -> None:
    kept(home / ".ollama")
    (home / ".ollama").chmod(0)
    kept(tmp_path / "system")
    (tmp_path / "system" / "models" / "blobs").chmod(0o555)
    with nobody():
        assert machine.models_of(None, {}) == Models(str(tmp_path / "models"))
        assert machine.models_of("~/.ollama", {}) == Models(str(home / ".ollama"))
    (home / ".ollama").chmod(0o700)
    assert machine.models_of(None, {}) == Models(str(home / ".ollama"))


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "SYSTEM_FOLDERS", ())

    def none(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", none)
    assert machine.models_of(None, {}) == Models(str(tmp_path / "models"))


def test_a_folder_that_cannot_be_made_is_a_sentence(stage: Stage) -> None:
    stage.models.write_text("in the way")
    told = stage.fails("--mode", "local")
    assert told.startswith(f"{stage.models}/models cannot be made (Not a directory); --models-dir names")


def test_a_colon_in_the_folder_is_told_before_docker_is_asked(stage: Stage) -> None:
    told = stage.fails("--mode", "docker", "--models-dir", f"{stage.folder}/a:b")
    assert "a:b/models, for the colon in it" in told
    assert shutil.which("docker", path=stage.env["PATH"])
    assert [line["argv"][1] for line in stage.log("docker")] == ["info"]
