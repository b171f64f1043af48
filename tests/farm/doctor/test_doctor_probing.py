"""A look that hangs, fails or lacks a package hides no other."""

from __future__ import annotations

import threading
from typing import NoReturn

import pytest

from farm.doctor.probing import gather


def _fails() -> NoReturn:
    raise OSError(5, "Input/output error")


def _lacks() -> NoReturn:
    raise ModuleNotFoundError(name="psutil")


def test_all_of_them_tell() -> None:
    assert gather({"a": lambda: 1, "b": lambda: None}, 20) == ({"a": 1, "b": None}, {})
    assert gather({}, 20) == ({}, {})


def test_one_that_fails_says_why() -> None:
    found, silent = gather({"a": lambda: 1, "b": _fails, "c": _lacks}, 20)
    assert found == {"a": 1}
    assert silent == {
        "b": "OSError: [Errno 5] Input/output error",
        "c": "the Python package psutil is missing",
    }


@pytest.mark.parametrize("within_s", [0.05, 0.0])
def test_one_that_hangs_is_left_behind(within_s: float) -> None:
    never = threading.Event()
    try:
        found, silent = gather({"a": never.wait}, within_s)
        assert (found, silent) == ({}, {"a": "no answer within 0 s"})
    finally:
        never.set()


def test_those_that_told_count_although_another_hangs() -> None:
    never = threading.Event()
    try:
        found, silent = gather({"a": never.wait, "b": lambda: 2}, 0.05)
        assert (found, list(silent)) == ({"b": 2}, ["a"])
    finally:
        never.set()


def test_they_look_side_by_side() -> None:
    both = threading.Barrier(2, timeout=20)
    assert gather({"a": both.wait, "b": both.wait}, 20)[1] == {}
