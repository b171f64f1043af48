"""Regular expressions of JSON schemas, as far as Ollama can make a grammar of them.

Its converter reads a part of what a regular expression may be and does not check that it got no more: some
of the rest ends the runner, some ends Ollama itself. The grammar is then followed in all ways at once, for
each token, so a pattern that one text fits in thousands of ways stops everybody. Pure; called by `rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from farm.api import ways

_BEYOND_ASCII: Final = 128
_ALL: Final = (1 << (_BEYOND_ASCII + 1)) - 1
"""Sets of characters are bits: one for each of ASCII, one for all others."""
_REPEATS: Final = frozenset("*+?{")
_SPECIAL: Final = frozenset("|.()[]{}*+?\\")
_ESCAPES: Final = frozenset('^$.[](){}|*+?\\"nrt')
"""What may stand behind a backslash; all else, `\\d` too, is handed on to a parser that does not know it."""
_CLASS_ESCAPES: Final = frozenset('[]\\"nrt')
_TIMES: Final = re.compile(r"\{(\d{1,4})(?:(,)(\d{0,4}))?\}")
_ENDLESS: Final = 1 << 31


class UnplainError(ValueError):
    """A pattern that is not understood, or not safe; says why."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A pattern that a grammar can be made of.

    Attributes:
        repeats: repetitions that the grammar spells out.
        largest: the largest count of a repetition.
        ways: in which one token may be read, about.
    """

    repeats: int
    largest: int
    ways: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Positions of characters in a piece of the pattern: where it may begin and end."""

    empty: bool
    first: int
    last: int


def read(pattern: str) -> Plain:
    """Understand a pattern.

    Raises:
        UnplainError: it is beyond what is known to be safe.
    """
    if len(pattern) < 2 or pattern[0] != "^" or pattern[-1] != "$":
        raise UnplainError("it must begin with ^ and end with $")
    if not pattern.isprintable():
        raise UnplainError("it has a character that cannot be printed")
    reader = _Reader(pattern[1:-1])
    whole = reader.choice()
    if reader.at < len(reader.text):
        raise UnplainError("a bracket is not in a pair")
    found = ways.count(reader.sets, [whole.first, *reader.follow])
    if found is None:
        raise UnplainError("a repetition can be read in several ways")
    return Plain(reader.repeats, reader.largest, found)


class _Reader:
    """Reads a pattern into positions: one for each character that is written in it.

    Attributes:
        text: without the anchors.
        at: index of what comes next.
        sets: the characters that each position takes.
        follow: the positions, as bits, that may come behind each.
        repeats: repetitions spelled out so far.
        largest: the largest count so far.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.sets: list[int] = []
        self.follow: list[int] = []
        self.repeats = self.largest = 0

    def choice(self) -> _Part:
        """Sequences with | between them."""
        found = self._sequence()
        while self._take("|"):
            other = self._sequence()
            found = _Part(found.empty or other.empty, found.first | other.first, found.last | other.last)
        return found

    def _sequence(self) -> _Part:
        found = _Part(True, 0, 0)
        in_run = False  # behind literal characters, which the converter gathers
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            start = self.at
            part = self._atom()
            literal = self.text[start] not in "(.["
            if self._next() in _REPEATS:
                self._check_run(start, in_run=in_run)
                part = self._repeated(part)
                literal = False
            self._join(found.last, part.first)
            found = _Part(
                found.empty and part.empty,
                found.first | (part.first if found.empty else 0),
                part.last | (found.last if part.empty else 0),
            )
            in_run = literal
        return found

    def _atom(self) -> _Part:
        char = self.text[self.at]
        if char == "(":
            return self._group()
        if char == "[":
            return self._position(self._class())
        self.at += 1
        if char == ".":
            return self._position(_ALL & ~_bits("\n\r"))
        if char == "\\":
            char = self._escaped(_ESCAPES)
        elif char in _SPECIAL:
            raise UnplainError(f"{char} stands where a character should")
        return self._position(_bits(char))

    def _group(self) -> _Part:
        self.at += 1
        if self._next() == "?":
            raise UnplainError("a group begins with (?")
        found = self.choice()
        if not self._take(")"):
            raise UnplainError("a bracket is not in a pair")
        return found

    def _class(self) -> int:
        self.at += 1
        negated = self._take("^")
        found = 0
        while self._next() not in {"]", ""} or not found:
            low = self._member()
            if self._next() == "-" and self.text[self.at + 1 : self.at + 2] not in {"]", ""}:
                self.at += 1
                high = self._member()
                if low > high:
                    raise UnplainError(f"{low}-{high} is an empty range")
                found |= _span(low, high)
            else:
                found |= _bits(low)
        if not self._take("]"):
            raise UnplainError("a bracket is not in a pair")
        return _ALL & ~(found & ~(1 << _BEYOND_ASCII)) if negated else found

    def _member(self) -> str:
        char = self._next()
        self.at += 1
        if char in {"", "]"}:
            raise UnplainError("a class is empty or has no end")
        return self._escaped(_CLASS_ESCAPES) if char == "\\" else char

    def _escaped(self, known: frozenset[str]) -> str:
        char = self._next()
        if char not in known or not char:
            raise UnplainError(f"\\{char} is not known")
        self.at += 1
        return {"n": "\n", "r": "\r", "t": "\t"}.get(char, char)

    def _check_run(self, start: int, *, in_run: bool) -> None:
        """The converter gathers bytes, and takes an escaped character together with those before it."""
        char = self.text[start]
        if char > "\x7f":
            raise UnplainError("a repetition stands behind a character beyond ASCII; put it into [ ]")
        if in_run and char in '\\"':
            raise UnplainError("a repetition stands behind an escaped character; put it into ( )")

    def _repeated(self, part: _Part) -> _Part:
        least, most = self._times()
        if part.empty and most > 0:
            raise UnplainError("something that may be empty is repeated")
        if most == 0:
            return _Part(True, 0, 0)
        single = part.first.bit_count() == 1 and part.first == part.last
        if most > 1 and not (single and least == most):
            self._join(part.last, part.first)
        return _Part(least == 0, part.first, part.last)

    def _times(self) -> tuple[int, int]:
        char = self._next()
        if char != "{":
            self.at += 1
            return (1 if char == "+" else 0, 1 if char == "?" else _ENDLESS)
        found = _TIMES.match(self.text, self.at)
        if found is None:
            raise UnplainError("a { begins no count")
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else _ENDLESS
        if least > most:
            raise UnplainError(f"{found[0]} is an empty range")
        count = least if most == _ENDLESS else most
        self.repeats += count
        self.largest = max(self.largest, count)
        return least, most

    def _position(self, chars: int) -> _Part:
        bit = 1 << len(self.sets)
        self.sets.append(chars)
        self.follow.append(0)
        return _Part(False, bit, bit)

    def _join(self, before: int, behind: int) -> None:
        for index in ways.indices(before):
            if self.follow[index] & behind:  # a repetition in a repetition
                raise UnplainError("a repetition can be read in several ways")
            self.follow[index] |= behind

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, char: str) -> bool:
        found = self._next() == char
        self.at += found
        return found


def _bits(chars: str) -> int:
    found = 0
    for char in chars:
        found |= 1 << min(ord(char), _BEYOND_ASCII)
    return found


def _span(low: str, high: str) -> int:
    first, last = (min(ord(char), _BEYOND_ASCII) for char in (low, high))
    return (1 << (last + 1)) - (1 << first)
