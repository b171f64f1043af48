"""Findings, how they are written down, variables, and what the farm needs to start."""

from __future__ import annotations

import json

import pytest

from farm.doctor import finding, paper, software, variables
from farm.doctor.finding import Level, note, ok, trouble
from farm.doctor.software import Choice, Engine, Packages
from wire.finding import Finding, foreign, listed

# -- findings and paper --------------------------------------------------------------------------------------


def test_text_has_a_line_and_a_remedy_for_each() -> None:
    told = [ok("port", "free"), note("docker", "not there", "get it"), trouble("mode", "none", "get one")]
    assert paper.text(told) == (
        "ok      port   free\n"
        "note    docker not there\n"
        "               → get it\n"
        "trouble mode   none\n"
        "               → get one\n"
        "1 trouble and 1 note\n"
    )


@pytest.mark.parametrize(
    ("told", "last", "code"),
    [
        ([], "all is well", 0),
        ([ok("a", "b")], "all is well", 0),
        ([note("a", "b"), note("a", "c")], "2 notes", 0),
        ([trouble("a", "b"), trouble("a", "c"), ok("a", "d")], "2 troubles", 1),
    ],
)
def test_the_sum_and_the_exit_code(told: list[Finding], last: str, code: int) -> None:
    assert paper.text(told).splitlines()[-1] == last
    assert paper.exit_code(told) == code


def test_json_has_the_same() -> None:
    text = paper.as_json([trouble("a", "…", "r"), note("b", "c")])
    assert text.startswith('{\n  "schema": "farm-doctor/1",\n')
    assert "…" in text
    assert json.loads(text) == {
        "schema": "farm-doctor/1",
        "troubles": 1,
        "notes": 1,
        "findings": [
            {"check": "a", "level": "trouble", "text": "…", "remedy": "r"},
            {"check": "b", "level": "note", "text": "c", "remedy": ""},
        ],
    }


@pytest.mark.parametrize(("needed", "level"), [(True, Level.TROUBLE), (False, Level.NOTE)])
def test_what_is_not_needed_is_a_note(needed: bool, level: Level) -> None:
    assert finding.as_needed("a", "b", "c", needed=needed) == Finding("a", level, "b", "c")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[31mb\nc ", "a�[31mb�c"), ("x" * 200, "x" * 160 + "…"), (None, "None")],
)
def test_foreign_words_draw_nothing(text: object, shown: str) -> None:
    assert foreign(text) == shown


def test_long_lists_are_cut() -> None:
    assert listed("abcdef") == "a, b, c, d, e, f"
    assert listed("abcdefgh") == "a, b, c, d, e, f and 2 more"


@pytest.mark.parametrize(
    ("count", "shown"), [(3.2e12, "3.2 TB"), (16.04e9, "16.0 GB"), (98_362_432, "98.4 MB"), (900, "1 kB")]
)
def test_sizes(count: float, shown: str) -> None:
    assert finding.size(count) == shown


# -- variables -----------------------------------------------------------------------------------------------


def test_of_an_environment_only_a_few_are_kept() -> None:
    environment = {
        "OLLAMA_NUM_PARALLEL": "3",
        "OLLAMA_API_KEY": "secret",
        "OLLAMA_FARM_PORT": "1",
        "HOME": "/",
    }
    assert variables.chosen(environment) == {"OLLAMA_NUM_PARALLEL": "3", "OLLAMA_FARM_PORT": "1"}


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("", "127.0.0.1", 11434),
        ("0.0.0.0", "0.0.0.0", 11434),
        ("0.0.0.0:11500", "0.0.0.0", 11500),
        (":11500", "127.0.0.1", 11500),
        ("http://example.com", "example.com", 80),
        ("https://example.com/ollama", "example.com", 443),
        ("https://user:secret@example.com:8443", "example.com", 8443),
        ("[::1]:11500", "::1", 11500),
        ("[::]", "::", 11434),
        ("::1", "::1", 11434),
        ("localhost:99999", "localhost", 11434),
        ('"127.0.0.1:5"', "127.0.0.1", 5),
        ("ftp://a", "a", 11434),
    ],
)
def test_ollama_host(value: str, host: str, port: int) -> None:
    assert variables.host_and_port(value) == (host, port)


@pytest.mark.parametrize(
    ("value", "many"), [("4", 4), (" 8 ", 8), ('"2"', 2), ("0", 1), ("", 1), ("-1", 1), ("many", 1)]
)
def test_parallel(value: str, many: int) -> None:
    assert variables.parallel_of({"OLLAMA_NUM_PARALLEL": value}) == many
    assert variables.parallel_of({}) == 1


# -- software ------------------------------------------------------------------------------------------------


def test_packages() -> None:
    assert software.packages(Packages("3.12.1")) == ok("python", "Python 3.12.1 has all packages of the farm")
    missing = software.packages(Packages("3.12.1", ("aiohttp", "psutil")))
    assert (missing.level, missing.text) == (Level.TROUBLE, "this Python (3.12.1) lacks aiohttp, psutil")
    assert "make demo ONCE=1" in missing.remedy


@pytest.mark.parametrize(
    ("engine", "text", "remedy"),
    [
        (Engine(there=False), "is not installed", "pip install 'gpu-over-nkn[embedded]'"),
        (
            Engine(there=True, trouble="ImportError: libgomp.so.1: cannot open"),
            "lacks the system library libgomp",
            "apt-get install libgomp1",
        ),
        (Engine(there=True, trouble="signal 4"), "cannot be loaded: signal 4", "--force-reinstall xllamacpp"),
    ],
)
@pytest.mark.parametrize(("needed", "level"), [(True, Level.TROUBLE), (False, Level.NOTE)])
def test_an_engine_that_cannot_be_used(
    engine: Engine, text: str, remedy: str, needed: bool, level: Level
) -> None:
    told = software.engine(engine, needed=needed)
    assert told.level is level
    assert text in told.text
    assert remedy in told.remedy


@pytest.mark.parametrize(
    ("here", "text"),
    [(True, "its model is here"), (False, "its model (98 MB) is fetched at its first start")],
)
def test_an_engine_that_can_be_used(here: bool, text: str) -> None:
    told = software.engine(Engine(there=True, model_here=here), needed=True)
    assert told == ok("engine", f"the embedded engine can be loaded; {text}")


@pytest.mark.parametrize(
    ("choice", "adoptable", "level", "text"),
    [
        (Choice("docker"), "http://x", Level.OK, "would use the Ollama that runs at http://x"),
        (Choice("docker"), "", Level.OK, "would run Ollama in docker"),
        (Choice("local"), "", Level.OK, "would start the `ollama` of this machine"),
        (Choice("", blind=True), "", Level.TROUBLE, "neither docker (it cannot hand over the GPU)"),
        (Choice(""), "", Level.TROUBLE, "no model of your choice can be run"),
    ],
)
def test_what_the_farm_would_do(choice: Choice, adoptable: str, level: Level, text: str) -> None:
    told = software.choice(choice, adoptable)
    assert told.level is level
    assert text in told.text
    assert bool(told.remedy) is (level is Level.TROUBLE)


def test_what_could_not_be_looked_at() -> None:
    assert software.unseen("port", "no psutil") == note("port", "not looked at: no psutil")
