"""What surrounds a farm: the shell, memory, folders of models."""

from __future__ import annotations

from typing import Any

import pytest

from farm.doctor import storage, surroundings
from farm.doctor.finding import Level
from farm.doctor.storage import Folder, Storage
from farm.doctor.surroundings import Surroundings

GB = 10**9

# -- surroundings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("", "127.0.0.1", False),
        ("*", "127.0.0.1", True),
        ("a.example, LOCALHOST", "localhost", True),
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.1/8", "127.0.0.1", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("127.0.0.0/8", "localhost", False),
        ("127.0.0.0/99,127.0.0.1", "127.0.0.1", True),
        (".example", "a.example", True),
        ("127.0.0", "127.0.0.1", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, direct: bool) -> None:
    assert surroundings.goes_directly(no_proxy, host) is direct


@pytest.mark.parametrize(
    ("proxies", "no_proxy", "level"),
    [
        ((), "", Level.OK),
        (("http_proxy",), "localhost,127.0.0.1", Level.OK),
        (("http_proxy", "HTTP_PROXY"), "localhost", Level.NOTE),
    ],
)
def test_proxies(proxies: tuple[str, ...], no_proxy: str, level: Level) -> None:
    (told,) = surroundings.shell(Surroundings(proxies=proxies, no_proxy=no_proxy))
    assert (told.check, told.level) == ("proxies", level)
    assert (" and ".join(proxies) in told.text) is (level is Level.NOTE or not proxies)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.0.0.0", "OLLAMA_HOST is 0.0.0.0:11434 in this shell: an `ollama serve` started here is open"),
        ("[::]:5", "OLLAMA_HOST is [::]:5 in this shell: an `ollama serve` started here is open"),
        (
            "https://u:secret@far.example",
            "OLLAMA_HOST is far.example:443 in this shell: `ollama` commands go there",
        ),
    ],
)
def test_ollama_host_of_the_shell(value: str, text: str) -> None:
    _, told = surroundings.shell(Surroundings(ollama_host=value))
    assert told.level is Level.NOTE
    assert told.text.startswith(text)


@pytest.mark.parametrize("value", ["", "127.0.0.1:5", "localhost", "[::1]"])
def test_an_ollama_host_on_this_machine_is_no_matter(value: str) -> None:
    assert [one.check for one in surroundings.shell(Surroundings(ollama_host=value))] == ["proxies"]


@pytest.mark.parametrize(
    ("available", "cores", "level", "text"),
    [
        (3 * GB, 1, Level.OK, "3.0 GB of 8.0 GB memory available, 1 core"),
        (1 * GB, 2, Level.NOTE, "1.0 GB of 8.0 GB memory available, 2 cores"),
    ],
)
def test_memory(available: int, cores: int, level: Level, text: str) -> None:
    told = surroundings.memory(Surroundings(available=available, memory=8 * GB, cores=cores))
    assert (told.level, told.text) == (level, text)


# -- storage -------------------------------------------------------------------------------------------------

FOLDER = Folder("/m", there=True, readable=True, writable=True)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("registry.ollama.ai", "library", "gemma3", "4b"), "gemma3:4b"),
        (("registry.ollama.ai", "me", "mine", "latest"), "me/mine:latest"),
        (("hf.co", "some", "Model-GGUF", "Q4_K_M"), "hf.co/some/model-gguf:q4_k_m"),
    ],
)
def test_a_models_name(parts: tuple[str, ...], name: str) -> None:
    assert storage.name_of(parts) == name


@pytest.mark.parametrize(
    ("manifest", "size"),
    [({"layers": [{"size": 3}, {"size": 4}, {"size": "x"}, 5]}, 7), ({"layers": None}, 0), ([], 0), ({}, 0)],
)
def test_a_models_size(manifest: Any, size: int) -> None:
    assert storage.bytes_of(manifest) == size


@pytest.mark.parametrize(
    ("found", "level", "text"),
    [
        (Storage(FOLDER), Level.OK, "/m holds 0 models"),
        (Storage(FOLDER, models={"a:latest": 1}), Level.OK, "/m holds 1 model (a:latest)"),
        (
            Storage(FOLDER, why="OLLAMA_MODELS", models={"a": 1, "b": 1}),
            Level.OK,
            "/m (OLLAMA_MODELS) holds 2 models",
        ),
        (Storage(Folder("/m", there=None)), Level.TROUBLE, "the models in /m cannot be read"),
        (Storage(Folder("/m", there=True)), Level.TROUBLE, "the models in /m cannot be read"),
        (
            Storage(Folder("/m", there=True, readable=True)),
            Level.TROUBLE,
            "can be read, but none can be added",
        ),
        (Storage(Folder("/m")), Level.TROUBLE, "there is no /m, and it cannot be made"),
        (Storage(Folder("/m", writable=True)), Level.OK, "no models yet; /m is made at the first start"),
    ],
)
def test_folders(found: Storage, level: Level, text: str) -> None:
    (told,) = storage.models(found)
    assert (told.check, told.level) == ("models", level)
    assert text in told.text


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Folder("/s"), False),
        (Folder("/s", there=None), True),
        (Folder("/s", there=True, readable=True), True),
        (Folder("/s", there=True, readable=True, writable=True), False),
    ],
)
def test_a_services_folder_that_is_passed_over(other: Folder, told: bool) -> None:
    found = storage.models(Storage(FOLDER, others=(other,)))
    assert [one.check for one in found[1:]] == ["models-service"] * told


@pytest.mark.parametrize(
    ("free", "level"), [(50 * GB, Level.OK), (5 * GB, Level.NOTE), (GB // 2, Level.TROUBLE)]
)
def test_the_disk(free: int, level: Level) -> None:
    _, told = storage.models(Storage(FOLDER, free=free))
    assert (told.check, told.level) == ("disk", level)


@pytest.mark.parametrize(
    ("found", "served", "level", "text", "needs"),
    [
        (Storage(FOLDER, models={"a:latest": GB}), None, Level.OK, "library/A is there (1.0 GB)", GB),
        (None, {"a:latest": 5}, Level.OK, "library/A is there (0 kB)", 5),
        (Storage(FOLDER, models={"a:latest": GB}), {}, Level.NOTE, "is not in the Ollama that runs", 0),
        (None, {"b:1": 1}, Level.NOTE, "is not in the Ollama that runs, which has b:1", 0),
        (None, None, Level.NOTE, "is not in the folder of models", 0),
    ],
)
def test_whether_a_model_is_there(
    found: Storage | None, served: dict[str, int] | None, level: Level, text: str, needs: int
) -> None:
    told, size = storage.model("library/A", found, served)
    assert (told.level, size) == (level, needs)
    assert text in told.text


@pytest.mark.parametrize(
    ("needs", "gpu", "level"),
    [
        (3 * GB, None, None),
        (5 * GB, None, Level.TROUBLE),
        (5 * GB, 2 * GB, Level.NOTE),
        (7 * GB, 2 * GB, Level.TROUBLE),
        (1 * GB, 2 * GB, None),
        (3 * GB, 0, Level.NOTE),
    ],
)
def test_whether_it_fits(needs: int, gpu: int | None, level: Level | None) -> None:
    told = storage.fit("a", needs, memory=4 * GB, gpu=gpu)
    assert [one.level for one in told] == ([] if level is None else [level])
