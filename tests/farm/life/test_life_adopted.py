"""An Ollama that was there before the farm: asked and watched, never stopped, never started again."""

from __future__ import annotations

import json
import time

from lifestage import Running, Stage, until

NEVER = "is started again"


def own(farm: Running) -> dict[str, object]:
    (told,) = farm.health()["backends"]
    return dict(told)


def test_its_death_is_told_at_once_and_its_return_noticed(stage: Stage) -> None:
    other = stage.ollama()
    with stage.farm().ready() as farm:
        other.kill()
        other.wait()
        answer = farm.generate()
        assert (answer.status_code, "/_health" in answer.json()["error"]) == (502, True)
        health = until(lambda: (told := farm.health())["status"] == "down" and told)
        assert health["code"] == 503
        assert health["warm"] == {"a:latest": False}
        assert own(farm)["error"] == "its port refuses connections"
        begun = time.monotonic()
        assert farm.generate().status_code == 502
        assert time.monotonic() - begun < 1, "nobody waits for what the farm does not start"
        assert len(stage.log("serve")) == 1

        stage.ollama()
        until(farm.healthy)
        assert farm.health()["warm"] == {"a:latest": True}
        assert (own(farm)["restarts"], own(farm)["error"]) == (0, None)
        assert farm.generate().json()["done"] is True
        assert farm.end() == 0
    assert NEVER not in farm.told
    assert len(stage.log("serve")) == 2
    assert len([process for process in stage.left() if "serve" in process.cmdline()]) == 1


def test_a_death_that_nobody_asked_about_is_noticed(stage: Stage) -> None:
    other = stage.ollama()
    with stage.farm().ready() as farm:
        other.terminate()
        other.wait()
        until(lambda: farm.health()["status"] == "down")
        assert farm.end() == 0


def test_the_end_of_the_farm_is_none_of_its_own(stage: Stage) -> None:
    other = stage.ollama()
    with stage.farm().ready() as farm:
        assert farm.end() == 0
    assert other.poll() is None
    with stage.farm().ready() as farm:
        farm.process.kill()
        farm.process.wait()
    time.sleep(0.05)
    assert other.poll() is None


def test_a_return_without_the_model_is_told_and_tried_again_with_pauses(stage: Stage) -> None:
    other = stage.ollama()
    with stage.farm("--no-pull").ready() as farm:
        other.kill()
        other.wait()
        until(lambda: farm.health()["status"] == "down")
        other = stage.ollama(STANDIN_MODELS=json.dumps({"b": {}}))
        until(lambda: farm.told.count("is prepared again in 0.5 s") == 1)
        assert "a is not there and --no-pull is given" in str(own(farm)["error"])
        assert farm.health()["code"] == 503
        other.kill()
        other.wait()
        stage.ollama()
        until(farm.healthy)
        assert farm.end() == 0
    assert NEVER not in farm.told


def test_one_that_dies_before_the_farm_is_ready_is_a_sentence(stage: Stage) -> None:
    other = stage.ollama(STANDIN_LOAD_S="60")
    farm = stage.farm()
    until(lambda: farm.health().get("doing") == "loading a")
    other.kill()
    assert farm.code() == 1
    url = f"http://127.0.0.1:{stage.back_port}"
    assert farm.told.splitlines()[-1].startswith(f"farm: a cannot be loaded at {url}: ")
    assert "Traceback" not in farm.told
