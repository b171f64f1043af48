"""wire.entry: a missing package is a sentence, a missing part of ours is not hidden."""

import subprocess
import sys
from pathlib import Path

import pytest

from wire.entry import missing

ROOT = Path(__file__).resolve().parents[2]


def test_a_package_that_is_not_installed_is_named_with_the_remedy():
    said = missing(ModuleNotFoundError("No module named 'nacl.bindings'", name="nacl.bindings"), "relay")
    assert "package PyNaCl is not installed" in said
    assert "`make demo`" in said
    assert ".venv/bin/python -m relay" in said


def test_a_package_with_one_name_is_named_by_it():
    assert "package websockets is not" in missing(
        ModuleNotFoundError("gone", name="websockets.sync"), "relay"
    )


@pytest.mark.parametrize("name", ["relay.gone", "farm", "wire.x", None])
def test_a_missing_part_of_our_own_is_raised_again(name):
    with pytest.raises(ModuleNotFoundError):
        missing(ModuleNotFoundError("gone", name=name), "relay")


@pytest.mark.parametrize(
    "script",
    [
        "relay/ollama_relay.py --help",
        "-m relay --help",
        "farm/ollama_farm.py --mode embedded --front-port 0 --back-port 0",
        "-m farm --mode embedded --front-port 0 --back-port 0",
    ],
)
def test_without_packages_every_entry_ends_in_that_sentence(script):
    # -S: no site-packages; as a Python that never saw our requirements.
    words = [sys.executable, "-S", *script.split()]
    done = subprocess.run(words, cwd=ROOT, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not installed for this Python" in done.stderr
    assert "Traceback" not in done.stderr
