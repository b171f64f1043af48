"""Folders, memory and the shell's variables, looked at."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm import machine
from farm.doctor import grounds, limits
from farm.doctor.storage import Folder

if TYPE_CHECKING:
    from conftest import Ward


def model(models: Path, *parts: str, text: str = '{"layers": [{"size": 5}, {"size": 6}]}') -> None:
    (models / "blobs").mkdir(parents=True, exist_ok=True)
    path = models.joinpath("manifests", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(autouse=True)
def nowhere_else(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ward.folder)
    monkeypatch.setattr(machine, "SYSTEM_FOLDERS", (ward.folder / "system",))


def test_a_folder_that_holds_models(ward: Ward) -> None:
    models = ward.folder / ".ollama" / "models"
    model(models, "registry.ollama.ai", "library", "gemma3", "4b")
    model(models, "hf.co", "some", "model", "q4", text=json.dumps({"layers": []}))
    model(models, "registry.ollama.ai", "library", "broken", "latest", text="{")
    model(models, "registry.ollama.ai", "odd")
    found = grounds.storage(None)
    assert found.folder == Folder(str(models), there=True, readable=True, writable=True)
    assert (found.why, dict(found.models)) == ("", {"gemma3:4b": 11, "hf.co/some/model:q4": 0})
    assert found.free is not None
    assert found.others == (Folder(str(ward.folder / "system" / "models"), there=False, writable=True),)


def test_nothing_yet(ward: Ward) -> None:
    found = grounds.storage(None)
    assert found.folder == Folder(str(ward.folder / "models" / "models"), there=False, writable=True)
    assert found.models == {}
    assert not (ward.folder / "models").exists()


def test_a_folder_that_is_named(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(ward.folder / "variable"))
    assert grounds.storage(None).why == "OLLAMA_MODELS"
    assert grounds.storage(None).folder.path == str(ward.folder / "variable")
    (ward.folder / "flag" / "models").mkdir(parents=True)
    named = grounds.storage(str(ward.folder / "flag"))
    assert (named.why, named.folder.path) == ("--models-dir", str(ward.folder / "flag" / "models"))


def test_a_folder_below_a_file_cannot_be_made(ward: Ward) -> None:
    (ward.folder / "file").touch()
    found = grounds.storage(str(ward.folder / "file"))
    assert found.folder == Folder(str(ward.folder / "file" / "models"), there=False)


def test_a_folder_that_may_not_be_looked_into(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    stat, closed = Path.stat, ward.folder / "system" / "models"

    def refuse(path: Path, **more: bool) -> os.stat_result:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", refuse)
    assert grounds.storage(None).others == (Folder(str(closed), there=None),)


def test_a_folder_that_may_not_be_written(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ward.folder / "mine" / "models"
    model(models, "registry.ollama.ai", "library", "a", "latest")
    access, blobs = os.access, models / "blobs"
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not (path == blobs and mode & os.W_OK)
    )
    assert grounds.storage(str(ward.folder / "mine")).folder == Folder(str(models), there=True, readable=True)


def test_many_models_are_not_read_without_end(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ward.folder / ".ollama" / "models"
    for number in range(9):
        model(models, "registry.ollama.ai", "library", f"m{number}", "latest")
    monkeypatch.setattr(limits, "MANIFESTS_MAX", 5)
    assert len(grounds.storage(None).models) < 9


def test_a_disk_that_does_not_tell(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(grounds.shutil, "disk_usage", refuse)
    assert grounds.storage(None).free is None


@pytest.mark.usefixtures("ward")
def test_the_shell_tells_names_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("HTTP_PROXY", "http://user:secret@proxy:3128"), ("http_proxy", ""), ("NO_PROXY", "localhost"),
        ("no_proxy", "127.0.0.1"), ("OLLAMA_HOST", "0.0.0.0"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    found = grounds.surroundings()
    assert (found.proxies, found.no_proxy, found.ollama_host) == (
        ("HTTP_PROXY",), "127.0.0.1,localhost", "0.0.0.0",
    )  # fmt: skip
    assert "secret" not in repr(found)
    assert 0 < found.available <= found.memory
    assert found.cores >= 1
