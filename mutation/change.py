"""A change: one edit of a tree, and how it is told to people. Pure."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import Any

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Fields of a statement that hold other statements."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Another thing in one place of a tree."""

    holder: ast.AST
    field: str
    index: int | None
    new: Any

    def swap(self) -> Edit:
        """Put it there; the edit that takes it away again."""
        old = getattr(self.holder, self.field)
        if self.index is None:
            setattr(self.holder, self.field, self.new)
            return Edit(self.holder, self.field, None, old)
        was, old[self.index] = old[self.index], self.new
        return Edit(self.holder, self.field, self.index, was)


@dataclass(frozen=True, slots=True)
class Change:
    """One edit, told to people.

    Attributes:
        function: where, as "Class.method.inner".
        outer: the outermost function's own qualified name: whose code is exchanged.
        line: of what is changed.
        lines: first and last of the statement, or of its header: a test that runs none of them sees nothing.
        before, after: the statement, or its header.
    """

    function: str
    outer: str
    line: int
    lines: tuple[int, int]
    before: str
    after: str
    edit: Edit


@dataclass(frozen=True, slots=True)
class Place:
    """A statement, or a `case`, by where it hangs in the tree."""

    function: str
    outer: str
    holder: ast.AST
    field: str
    index: int

    @property
    def node(self) -> Any:
        """What hangs there now."""
        return getattr(self.holder, self.field)[self.index]

    def change(self, edit: Edit) -> Change:
        """What an edit in it comes to."""
        node = self.node
        before, inverse = _text(node), edit.swap()
        after = _text(self.node)
        inverse.swap()
        line = _line(node)
        if edit.holder is not self.holder:
            line = getattr(edit.holder, "lineno", line)
        return Change(self.function, self.outer, line, _lines(node), before, after, edit)


def _line(node: ast.AST) -> int:
    """Its first line; that of a `case` is its pattern's."""
    return int(node.pattern.lineno if isinstance(node, ast.match_case) else getattr(node, "lineno", 0))


def _lines(node: ast.AST) -> tuple[int, int]:
    first = _line(node)
    header = [
        getattr(inner, "end_lineno", None) or first
        for field, value in ast.iter_fields(node)
        if field not in BLOCKS
        for inner in (value if isinstance(value, list) else [value])
    ]
    simple = not any(isinstance(getattr(node, field, None), list) for field in BLOCKS)
    return first, int(node.end_lineno) if simple else max([first, *header])  # type: ignore[attr-defined]


def _text(node: ast.AST) -> str:
    """The statement as it would be written; of one that holds others its header."""
    blocks = [field for field in BLOCKS if isinstance(getattr(node, field, None), list)]
    if not blocks:
        return ast.unparse(node)
    header = copy.copy(node)
    for field in blocks:
        setattr(header, field, [])
    return ast.unparse(header).strip().split("\n")[0]
