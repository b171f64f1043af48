"""Commands are plain values, and the pump carries out every kind of them."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import typing
from pathlib import Path

import pytest

from relay.commands import Abort, Command, Hold, Note, Probe, Send, Start


def test_commands_are_values(make_request):
    assert Send("bob", "{}") == Send("bob", "{}", None, None)
    assert Send("bob", "{}", 1, 2) != Send("bob", "{}", 1, 3)
    assert Start(1, make_request()) == Start(1, make_request())
    assert Abort(1) != Abort(2)
    assert Probe({"a": "http://a"}) == Probe({"a": "http://a"})
    assert Note("end") == Note("end", {})


@pytest.mark.parametrize("command", [Abort(1), Hold(1, held=True), Probe({}), Note("x")])
def test_commands_cannot_be_changed(command):
    """Of those that are records, as `Send` is, `mypy` sees to it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(command, dataclasses.fields(command)[0].name, "other")


def test_the_pump_has_a_case_for_every_command():
    spec = importlib.util.find_spec("relay.pump")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    handled = {node.cls.id for node in ast.walk(tree) if isinstance(node, ast.MatchClass)}
    assert handled == {kind.__name__ for kind in typing.get_args(Command)}
