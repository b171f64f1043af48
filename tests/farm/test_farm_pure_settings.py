"""farm.settings: every flag, what it takes, and what is said when it cannot be."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pytest

from farm import cli, limits, settings
from farm.embedded import card
from farm.plan import FarmPlan, Mode
from wire.errors import SettingsFault


def check(**given: Any) -> FarmPlan:
    usual: dict[str, Any] = {
        "mode": "auto", "model": "gemma3:4b", "host": "127.0.0.1", "front_port": 8080, "back_port": None,
        "num_parallel": 4, "ctx": None, "keepalive": "1h",
    }  # fmt: skip
    return settings.check(**usual | given)


def test_what_nobody_said():
    assert asdict(check()) == {
        "mode": Mode.AUTO, "model": "gemma3:4b", "host": "127.0.0.1", "front_port": 8080, "back_port": 11434,
        "slots": 4, "slot_tokens": 4096, "gpu_layers": -1, "keep_alive": "1h", "keep_alive_s": 3600.0,
        "models_dir": None, "pull": True, "per_gpu": False, "image": "", "waiting_max": 512,
        "allow_admin": False,
    }  # fmt: skip


def test_what_nobody_said_about_the_embedded_engine():
    plan = check(mode="embedded", model=None)
    assert (plan.model, plan.back_port, plan.slot_tokens) == (card.NAME, limits.BACK_PORT, limits.SLOT_TOKENS)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"mode": "docker"}, {"mode": Mode.DOCKER}),
        ({"mode": "local"}, {"mode": Mode.LOCAL}),
        ({"model": " gemma3:4b "}, {"model": "gemma3:4b"}),
        ({"host": "0.0.0.0"}, {"host": "0.0.0.0"}),
        ({"front_port": 0, "back_port": 0}, {"front_port": 0, "back_port": 0}),
        ({"front_port": 65535, "back_port": 1}, {"front_port": 65535, "back_port": 1}),
        ({"num_parallel": 512}, {"slots": 512}),
        ({"ctx": 256}, {"slot_tokens": 256}),
        ({"ctx": 2_000_000}, {"slot_tokens": 2_000_000}),
        ({"keepalive": "1h30m"}, {"keep_alive": "1h30m", "keep_alive_s": 5400.0}),
        ({"keepalive": "0"}, {"keep_alive": "0", "keep_alive_s": 0.0}),
        ({"keepalive": "-1s"}, {"keep_alive": "-1s", "keep_alive_s": math.inf}),
        ({"gpu_layers": 0}, {"gpu_layers": 0}),
        ({"models_dir": "/m"}, {"models_dir": "/m"}),
        ({"no_pull": True}, {"pull": False}),
        ({"per_gpu": True}, {"per_gpu": True}),
        ({"image": "mine:1"}, {"image": "mine:1"}),
        ({"max_queue": 0}, {"waiting_max": 0}),
        ({"max_queue": 100_000}, {"waiting_max": 100_000}),
        ({"allow_admin": True}, {"allow_admin": True}),
        ({"mode": "embedded", "model": card.NAME.upper()}, {"model": card.NAME}),
        ({"mode": "embedded", "model": None, "num_parallel": 64}, {"slots": 64}),
        ({"mode": "embedded", "model": None, "ctx": card.CONTEXT_MAX}, {"slot_tokens": card.CONTEXT_MAX}),
    ],
)
def test_a_flag_that_is_taken(given, kept):
    plan = asdict(check(**given))
    assert {name: plan[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("given", "flag", "words"),
    [
        ({"mode": "Docker"}, "--mode", "auto, docker, local, embedded"),
        ({"model": None}, "--model", "is required"),
        ({"model": "  "}, "--model", "is required"),
        ({"mode": "embedded"}, "--model", card.NAME),
        ({"front_port": -1}, "--front-port", "0 (any free port) to 65535"),
        ({"front_port": 65536}, "--front-port", "65535"),
        ({"back_port": 70_000}, "--back-port", "65535"),
        ({"back_port": 8080}, "--back-port", "must differ"),
        ({"front_port": 11434}, "--back-port", "must differ"),
        ({"num_parallel": 0}, "--num-parallel", "1 to 512"),
        ({"num_parallel": 513}, "--num-parallel", "1 to 512"),
        ({"mode": "embedded", "model": None, "num_parallel": 65}, "--num-parallel", "1 to 64"),
        ({"ctx": 255}, "--ctx", "256 to 2000000"),
        ({"ctx": 2_000_001}, "--ctx", "256 to 2000000"),
        ({"mode": "embedded", "model": None, "ctx": card.CONTEXT_MAX + 1}, "--ctx", str(card.CONTEXT_MAX)),
        ({"keepalive": "soon"}, "--keepalive", "-1s"),
        ({"keepalive": "10"}, "--keepalive", "missing unit"),
        ({"keepalive": ""}, "--keepalive", "5m"),
        ({"max_queue": -1}, "--max-queue", "0 to 100000"),
        ({"max_queue": 100_001}, "--max-queue", "0 to 100000"),
        ({"mode": "local", "image": "mine:1"}, "--image", "--mode docker"),
        ({"mode": "embedded", "model": None, "per_gpu": True}, "--per-gpu", "for an Ollama"),
        ({"mode": "embedded", "model": None, "image": "x"}, "--image", "for an Ollama"),
        ({"mode": "embedded", "model": None, "models_dir": "/m"}, "--models-dir", "for an Ollama"),
    ],
)
def test_a_flag_that_cannot_be_is_named_and_says_what_it_takes(given, flag, words):
    with pytest.raises(SettingsFault) as caught:
        check(**given)
    assert caught.value.detail.startswith(f"{flag}: ")
    assert words in caught.value.detail


@pytest.mark.parametrize(
    ("words", "keepalive"),
    [
        (["--keepalive", "-1s"], "-1s"),
        (["--keepalive=-1s"], "-1s"),
        (["--keepalive", "5m", "--per-gpu"], "5m"),
        (["--per-gpu", "--keepalive", "-1h30m", "--no-pull"], "-1h30m"),
        ([], "1h"),
    ],
)
def test_for_ever_may_be_typed_as_the_help_says_it(words, keepalive):
    assert vars(cli._parser().parse_args(cli._joined(words)))["keepalive"] == keepalive


@pytest.mark.parametrize("words", [["--keepalive"], ["--keepalive", "--per-gpu"]])
def test_a_flag_without_its_value_is_still_told(words, capsys):
    with pytest.raises(SystemExit):
        cli._parser().parse_args(cli._joined(words))
    assert "--keepalive: expected one argument" in capsys.readouterr().err
