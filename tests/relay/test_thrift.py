"""Memory goes back where the C library can do that, and nothing is asked of one that cannot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from relay import thrift


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    seen: list[tuple[Any, ...]] = []
    library = SimpleNamespace(
        mallopt=lambda *given: seen.append(("mallopt", *given)),
        malloc_trim=lambda pad: seen.append(("trim", pad)),
    )
    monkeypatch.setattr(thrift.ctypes, "CDLL", lambda name: library)
    return seen


def test_glibc_is_asked(asked: list[tuple[Any, ...]]) -> None:
    thrift.few_arenas()
    thrift.give_back()
    assert asked == [("mallopt", -8, 2), ("trim", 0)]


def test_what_was_imported_is_searched_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(thrift.gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(thrift.gc, "freeze", lambda: done.append("freeze"))
    thrift.freeze()
    assert done == ["collect", "freeze"], "what is garbage already is not kept for ever"


@pytest.mark.parametrize("library", [SimpleNamespace(), OSError("none"), TypeError("none")])
def test_others_are_left_alone(monkeypatch: pytest.MonkeyPatch, library: object) -> None:
    def load(_name: None) -> object:
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(thrift.ctypes, "CDLL", load)
    thrift.few_arenas()
    thrift.give_back()
