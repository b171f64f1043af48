"""A backend that cannot start, a model that cannot be had: one sentence with the reason, exit code 1."""

from __future__ import annotations

import json
import signal

import pytest
from lifestage import Stage, until

GIN = '[GIN] 2026/11/21 - 15:58:01 | 200 |      21.4µs |       127.0.0.1 | GET      "/api/ps"'


# -- a server that does not start --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["local", "docker"])
def test_one_that_ends_with_words(stage: Stage, mode: str) -> None:
    stage.daemon()
    told = stage.fails("--mode", mode, STANDIN_FAIL=f"{GIN}\nError: could not create directory\n{GIN}")
    url = f"http://127.0.0.1:{stage.back_port}"
    assert (
        told
        == f"the backend at {url} did not come up: it ended with code 1: Error: could not create directory"
    )
    assert until(stage.clean)


def test_one_that_dies_without_a_word(stage: Stage) -> None:
    farm = stage.farm("--mode", "local", STANDIN_START_S="9")
    farm.serve.kill()
    assert (farm.code(), farm.said) == (1, "")
    assert farm.told.endswith("did not come up: it was ended by SIGKILL\n")
    assert until(stage.clean)


def test_one_that_dies_while_it_loads(stage: Stage) -> None:
    farm = stage.farm("--mode", "local", STANDIN_LOAD_S="20")
    until(lambda: farm.health().get("doing") == "loading a" and farm.below("runner"))
    farm.serve.kill()
    assert (farm.code(), farm.said) == (1, "")
    assert "did not come up: it was ended by SIGKILL" in farm.told.splitlines()[-1]
    assert until(stage.clean)


def test_an_image_that_cannot_be_fetched(stage: Stage) -> None:
    env = {"STANDIN_NO_IMAGE": "1", "STANDIN_PULL_FAILS": "manifest for x not found"}
    farm = stage.farm("--mode", "docker", "--image", "x", **env)
    assert farm.code() == 1
    *_, words, last = farm.told.splitlines()
    assert words == "Error response from daemon: manifest for x not found"
    assert last == "farm: docker could not fetch x; its own words stand above"
    assert "Traceback" not in farm.told
    assert until(stage.clean)


def test_an_image_that_is_not_there_is_fetched_once(stage: Stage) -> None:
    stage.daemon()
    env = {"STANDIN_NO_IMAGE": "1", "STANDIN_GPUS": "2", "STANDIN_NVIDIA_RUNTIME": "1"}
    with stage.farm("--mode", "docker", "--per-gpu", **env).ready() as farm:
        pulls = [line["argv"][1:] for line in stage.log("docker") if line["argv"][1] == "pull"]
        assert pulls == [["pull", "ollama/ollama:latest"]]
        assert "Status: Downloaded newer image for ollama/ollama:latest" in farm.told
        assert farm.end() == 0
    assert until(stage.clean)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_fetch_of_an_image_ends_with_the_farm(stage: Stage, number: signal.Signals) -> None:
    farm = stage.farm("--mode", "docker", STANDIN_NO_IMAGE="1", STANDIN_IMAGE_S="90")
    until(lambda: "Pulling from ollama/ollama" in farm.told)
    farm.process.send_signal(number)
    assert farm.code() == (0 if number is signal.SIGTERM else -9)
    assert until(stage.clean)


def test_no_driver_for_gpus_is_docker_s_own_word(stage: Stage) -> None:
    env = {"STANDIN_GPUS": "1", "STANDIN_NVIDIA_RUNTIME": "1", "STANDIN_NO_GPU_DRIVER": "1"}
    told = stage.fails("--mode", "docker", **env)
    words = 'could not select device driver "" with capabilities: [[gpu]]'
    assert told.endswith(f"it ended with code 125: docker: Error response from daemon: {words}")
    assert until(stage.clean)


# -- a model that cannot be had ----------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded(stage: Stage) -> None:
    models = json.dumps({"a": {"refusal": "llama runner process has terminated: out of memory"}})
    told = stage.fails("--mode", "local", STANDIN_MODELS=models)
    url = f"http://127.0.0.1:{stage.back_port}"
    assert told == f"a cannot be loaded at {url}: llama runner process has terminated: out of memory"
    assert until(stage.clean)


def test_a_missing_model_and_no_pull(stage: Stage) -> None:
    told = stage.fails("--mode", "local", "--model", "b", "--no-pull")
    assert told == "b is not there and --no-pull is given; without it the farm fetches it"
    assert until(stage.clean)


def test_a_model_that_nobody_has(stage: Stage) -> None:
    told = stage.fails("--mode", "local", "--model", "b")
    assert told.startswith("b cannot be pulled: pull model manifest: ")
    assert told.endswith("no such host")
    assert until(stage.clean)


def test_a_pull_that_breaks_off(stage: Stage) -> None:
    env = {"STANDIN_REGISTRY": '{"b": {}}', "STANDIN_PULL_S": "30"}
    other = stage.ollama(**env)
    farm = stage.farm("--model", "b", **env)
    until(lambda: str(farm.health().get("doing", "")).startswith("pulling b: "))
    other.kill()
    assert farm.code() == 1
    assert farm.told.splitlines()[-1] == (
        "farm: pulling b broke off: ClientPayloadError; what was fetched is kept, start again to go on"
    )


def test_the_owner_leaves_before_it_answers(stage: Stage) -> None:
    farm = stage.farm("--mode", "local", STANDIN_START_S="60")
    until(lambda: stage.log("serve"))
    assert farm.end() == 0
    assert stage.clean()
