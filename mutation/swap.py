"""A changed function in place of the one that runs: its code is exchanged, whoever holds it.

Methods, properties, class methods, cached and wrapped functions all hold the same function object, so it is
looked for among all there are, once (`live`), by file, qualified name and first line.
"""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Collection, Iterator
from types import CodeType, FunctionType

Live = dict[tuple[str, str, int], list[FunctionType]]
_Cached = functools._lru_cache_wrapper


class NotPlacedError(Exception):
    """There is no function to exchange the code of, or the changed one does not fit it."""


def live(files: Collection[str]) -> Live:
    """The functions that came from these files."""
    found: Live = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename in files:
            found.setdefault(_key(thing.__code__), []).append(thing)
    return found


def caches(files: Collection[str]) -> list[_Cached[object]]:
    """The caches around functions from these files; a changed function is not asked while they remember."""
    return [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, _Cached)
        and type(thing.__wrapped__) is FunctionType
        and thing.__wrapped__.__code__.co_filename in files
    ]


def place(tree: ast.Module, file: str, outer: str, functions: Live) -> int:
    """Give the live functions the code they have in this tree; how many got other code.

    Args:
        tree: the changed module. It may be changed again, so it is of no use afterwards.
        file: where it came from.
        outer: qualified name of the outermost function that holds the change.
        functions: all there are (`live`).

    Raises:
        NotPlacedError: nothing could be exchanged.
    """
    placed = 0
    for code in _codes(compile(tree, file, "exec", dont_inherit=True), outer):
        for function in functions.get(_key(code), ()):
            if function.__code__.co_freevars == code.co_freevars:
                placed += function.__code__ != code
                function.__code__ = code
            else:
                whole = _with_names(tree, code, function.__code__.co_freevars)
                function.__code__ = next(
                    other
                    for other in _codes(compile(whole, file, "exec"), outer)
                    if _key(other) == _key(code)
                )
                placed += 1
    if not placed:
        raise NotPlacedError(f"{file}: {outer}")
    return placed


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _codes(code: CodeType, outer: str) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_qualname == outer or inner.co_qualname.startswith(f"{outer}.<locals>."):
                yield inner
            yield from _codes(inner, outer)


def _with_names(tree: ast.Module, code: CodeType, names: tuple[str, ...]) -> ast.Module:
    """The tree with a function that names, and never reads, what it no longer mentions: cells must fit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                test = ast.parse(f"if False: ({', '.join(names)},)").body[0]
                for inner in ast.walk(test):
                    if hasattr(inner, "lineno"):
                        ast.copy_location(inner, node.body[-1])
                node.body.append(test)
    return tree
