"""Every single change to a function that its tests should notice. Pure: a tree in, changes out.

    comparison   │ < ↔ <=   > ↔ >=   == ↔ !=   is ↔ is not   in ↔ not in
    logic        │ and ↔ or   not x → x   a bare condition → its negation   True ↔ False   any ↔ all
    arithmetic   │ + ↔ -   * ↔ /   // → *   % → *   << ↔ >>   & ↔ |   n → n + 1   min ↔ max
    statement    │ += ↔ -= (and the like)   += → =   a call left out   a value assigned or returned → None
                 │ break ↔ continue
    call         │ an argument → None   a keyword argument left out   one arm of a ternary for both
    words        │ "word" → "XXwordXX", for strings without a space: names of fields, codes, units

Not changed, as nobody could see it or no test should care: docstrings, annotations, `cast`, assertions,
`TYPE_CHECKING`, `__repr__`, prose (strings with a space in them), what a raised error's f-string says; and
what runs at import alone, as decorators, defaults and the module's top level do.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from mutation.change import BLOCKS, Change, Edit, Place

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = (ast.Assert, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.Pass)
_PLAIN = (ast.Compare, ast.BoolOp, ast.Constant)
"""Conditions that are changed otherwise already."""
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def changes(tree: ast.Module) -> list[Change]:
    """Every change that can be made in the tree's functions, in their order."""
    return [change for change in _tops(tree, "") if change.before != change.after]


def _tops(holder: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Change]:
    for node in holder.body:
        if isinstance(node, ast.ClassDef):
            yield from _tops(node, f"{prefix}{node.name}.")
        elif isinstance(node, _FUNCTIONS) and node.name != "__repr__":
            name = f"{prefix}{node.name}"
            yield from _block(node, "body", name, name)


def _block(holder: ast.AST, field: str, function: str, outer: str) -> Iterator[Change]:
    for index in range(len(getattr(holder, field, ()))):
        yield from _statement(Place(function, outer, holder, field, index))


def _statement(place: Place) -> Iterator[Change]:
    node = place.node
    if isinstance(node, _LEFT_OUT) or _is_prose_alone(node) or _is_for_types(node):
        return
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield from _block(node, "body", f"{place.function}.{node.name}", place.outer)
        return
    for edit in (*_of_statement(place), *_of_header(node)):
        yield place.change(edit)
    for field in BLOCKS:
        if isinstance(getattr(node, field, None), list):
            yield from _block(node, field, place.function, place.outer)


def _of_statement(place: Place) -> Iterator[Edit]:
    node = place.node

    def instead(new: ast.stmt) -> Edit:
        return Edit(place.holder, place.field, place.index, ast.copy_location(new, node))

    if isinstance(node, ast.Expr) and isinstance(_awaited(node.value), ast.Call):
        yield instead(ast.Pass())
    elif isinstance(node, ast.Break):
        yield instead(ast.Continue())
    elif isinstance(node, ast.Continue):
        yield instead(ast.Break())
    elif isinstance(node, ast.AugAssign):
        if type(node.op) in _ARITHMETIC:
            yield Edit(node, "op", None, _ARITHMETIC[type(node.op)]())
        yield instead(ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno))
    elif _is_value(node) and node.value is not None and not _is_none(node.value):
        yield Edit(node, "value", None, _none(node.value))


def _of_header(node: ast.AST) -> Iterator[Edit]:
    raising = isinstance(node, ast.Raise)
    for field, value in ast.iter_fields(node):
        if field not in BLOCKS and field not in ("annotation", "type"):
            yield from _within(node, field, value, raising)


def _within(holder: ast.AST, field: str, value: object, raising: bool) -> Iterator[Edit]:  # noqa: FBT001
    """Edits of what stands in a field, and of all that hangs below it."""
    nodes = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
    for index, node in nodes:
        if not isinstance(node, ast.AST) or (raising and isinstance(node, ast.JoinedStr)):
            continue
        if field == "format_spec" or (field == "args" and index == 0 and _name_of(holder) == "cast"):
            continue
        at = _at(holder, field, index)
        for kind, edits in _EXPRESSIONS.items():
            if isinstance(node, kind):
                yield from edits(node, at)
        if _is_condition(holder, field) and isinstance(node, ast.expr) and not _is_plain(node):
            yield at(ast.UnaryOp(ast.Not(), node))
        if isinstance(node, ast.Call):
            yield from _of_arguments(node, raising)
        for inner, below in ast.iter_fields(node):
            yield from _within(node, inner, below, raising)


_At = Callable[[ast.AST], Edit]


def _at(holder: ast.AST, field: str, index: int | None) -> _At:
    def at(new: ast.AST) -> Edit:
        old = getattr(holder, field) if index is None else getattr(holder, field)[index]
        if hasattr(old, "lineno"):
            ast.fix_missing_locations(ast.copy_location(new, old) if not hasattr(new, "lineno") else new)
        return Edit(holder, field, index, new)

    return at


def _comparison(node: ast.Compare, _: _At) -> Iterator[Edit]:
    for index, operator in enumerate(node.ops):
        yield Edit(node, "ops", index, _COMPARISONS[type(operator)]())


def _logic(node: ast.BoolOp, _: _At) -> Iterator[Edit]:
    yield Edit(node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And())


def _negation(node: ast.UnaryOp, at: _At) -> Iterator[Edit]:
    if isinstance(node.op, ast.Not):
        yield at(node.operand)


def _arithmetic(node: ast.BinOp, _: _At) -> Iterator[Edit]:
    if type(node.op) in _ARITHMETIC:
        yield Edit(node, "op", None, _ARITHMETIC[type(node.op)]())


def _ternary(node: ast.IfExp, at: _At) -> Iterator[Edit]:
    yield at(node.body)
    yield at(node.orelse)


def _constant(node: ast.Constant, _: _At) -> Iterator[Edit]:
    value = node.value
    if isinstance(value, bool):
        yield Edit(node, "value", None, not value)
    elif isinstance(value, int | float):
        yield Edit(node, "value", None, value + 1)
    elif isinstance(value, str) and " " not in value:
        yield Edit(node, "value", None, f"XX{value}XX")
    elif isinstance(value, bytes) and b" " not in value:
        yield Edit(node, "value", None, b"XX" + value + b"XX")


def _called(node: ast.Call, _: _At) -> Iterator[Edit]:
    if isinstance(node.func, ast.Name) and node.func.id in _NAMES:
        yield Edit(node.func, "id", None, _NAMES[node.func.id])


_EXPRESSIONS: dict[type[ast.AST], Callable[[Any, _At], Iterator[Edit]]] = {
    ast.Compare: _comparison,
    ast.BoolOp: _logic,
    ast.UnaryOp: _negation,
    ast.BinOp: _arithmetic,
    ast.IfExp: _ternary,
    ast.Constant: _constant,
    ast.Call: _called,
}


def _of_arguments(node: ast.Call, raising: bool) -> Iterator[Edit]:  # noqa: FBT001
    for index, argument in enumerate(node.args if _name_of(node) != "cast" else ()):
        if isinstance(argument, ast.Starred) or _is_none(argument) or (raising and _is_words(argument)):
            continue
        yield Edit(node, "args", index, _none(argument))
    for keyword in node.keywords:
        if keyword.arg is not None:
            yield Edit(node, "keywords", None, [other for other in node.keywords if other is not keyword])


def _is_condition(holder: ast.AST, field: str) -> bool:
    return field in {"test", "guard"} or (isinstance(holder, ast.comprehension) and field == "ifs")


def _is_plain(node: ast.AST) -> bool:
    return isinstance(node, _PLAIN) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _is_prose_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_value(node: ast.AST) -> bool:
    """Whether it assigns or returns one, and None fits there: unpacking it would not even run."""
    if isinstance(node, ast.Assign):
        return not any(isinstance(target, ast.Tuple | ast.List) for target in node.targets)
    return isinstance(node, ast.Return | ast.AnnAssign)


def _is_none(node: ast.AST) -> bool:
    """Whether None in its place is no other change than one that is made anyway: None, True, False."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _none(like: ast.AST) -> ast.Constant:
    return ast.copy_location(ast.Constant(None), like)


def _awaited(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Await) else node


def _name_of(node: ast.AST) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
