"""Settings from text and from JSON: one reader for each type of field, one sentence for each mistake.

Knows no setting by name: the fields of a dataclass say which there are. Pure; used by `faults` and `times`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any


class FaultsError(ValueError):
    """A knob set to what it cannot be; the message names it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One type of knob.

    Attributes:
        read: its value from text; ValueError if the text is none.
        expected: what the text should have been.
        told: its value as JSON has it.
    """

    read: Callable[[str], Any]
    expected: str
    told: Callable[[Any], Any] = lambda value: value


def kinds(settings: type) -> dict[str, Kind]:
    """The knobs of a dataclass."""
    return {field.name: _BY_TYPE[str(field.type)] for field in fields(settings)}


def amounts(settings: type) -> tuple[str, ...]:
    """The knobs that are numbers."""
    return tuple(name for name, kind in kinds(settings).items() if kind in {NUMBER, WHOLE})


def values(settings: type, words: Mapping[str, str | bool]) -> dict[str, Any]:
    """What the knobs are set to, from text as a command line has it.

    Args:
        words: knob → its value as text, or a bool for a knob that is only on or off. Dashes and underscores
            are the same. Lists are separated by commas: "0,2", "0=20,1=200".

    Raises:
        FaultsError: for an unknown knob or a value that is none, in one sentence.
    """
    known = kinds(settings)
    found: dict[str, Any] = {}
    for word, text in words.items():
        name = word.replace("-", "_")
        kind = known.get(name)
        if kind is None:
            raise FaultsError(f"{word}: there is no such knob; there are {', '.join(sorted(known))}")
        try:
            found[name] = text if isinstance(text, bool) else kind.read(text.strip())
        except ValueError as error:
            raise FaultsError(f"{name}: {text!r} is not {kind.expected}") from error
        if isinstance(text, bool) and kind is not SWITCH:
            raise FaultsError(f"{name}: needs a value, {kind.expected}")
    return found


def words(body: object) -> dict[str, str | bool]:
    """The words of a JSON object: numbers, texts and bools as they are, lists and objects of paths.

    Raises:
        FaultsError: if it is no object, or a value is null or too deep.
    """
    if not isinstance(body, dict):
        raise FaultsError('knobs are a JSON object such as {"loss": 0.1}')
    return {name: value if isinstance(value, bool) else _text(name, value) for name, value in body.items()}


def described(settings: Any) -> dict[str, Any]:
    """All knobs of a dataclass as JSON has them."""
    return {name: kind.told(getattr(settings, name)) for name, kind in kinds(type(settings)).items()}


def _text(name: str, value: object) -> str:
    match value:
        case str() | int() | float():
            return str(value)
        case list():
            return ",".join(str(part) for part in value)
        case dict():
            return ",".join(f"{path}={more}" for path, more in value.items())
    raise FaultsError(f"{name}: null is no value for a knob")


def _switch(text: str) -> bool:
    low = text.lower()
    if low not in {"1", "0", "true", "false", "on", "off", "yes", "no"}:
        raise ValueError(text)
    return low in {"1", "true", "on", "yes"}


def _paths(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())


def _path_delays(text: str) -> tuple[tuple[int, float], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    return tuple((int(path), float(delay)) for path, _, delay in pairs)


NUMBER = Kind(float, "a number")
WHOLE = Kind(int, "a whole number")
SWITCH = Kind(_switch, "on or off")
_BY_TYPE: dict[str, Kind] = {
    "float": NUMBER,
    "int": WHOLE,
    "bool": SWITCH,
    "str": Kind(str, "a text"),
    "tuple[int, ...]": Kind(_paths, "a list of paths such as 0,2", list),
    "tuple[tuple[int, float], ...]": Kind(
        _path_delays,
        "a list of paths and delays such as 0=20,1=200",
        lambda pairs: {str(path): delay for path, delay in pairs},
    ),
}
