"""Which JSON schemas may reach a runner.

Ollama turns a schema into a grammar, and some grammars end the runner together with the streams of everybody
else, or Ollama itself, or fill the memory without end. The limits here were measured on Ollama 0.24;
what is beyond them is refused before it gets there. Pure; called by `demand`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from farm import limits
from farm.api import gojson, patterns
from farm.api.patterns import UnplainError
from farm.api.rules import Rules, Schema, TangledError
from farm.api.words import RefusalError

_CHOICES: Final = ("anyOf", "oneOf", "type")
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_KELVIN_AND_LONG_S: Final = str.maketrans({"\u212a": "k", "\u017f": "s"})


def check(path: str, fields: Mapping[str, Any]) -> None:
    """Look at the schema of a request, where its route keeps it.

    Args:
        path: of the route; routes that make no grammar are left alone.
        fields: of the request.

    Raises:
        RefusalError: 400, it would crash or stall the runner; the text says what the limit is.
    """
    for schema in _found([fields], _PLACES.get(path, ())):
        if isinstance(schema, dict):
            try:
                _check(schema)
            except TangledError as error:
                raise RefusalError(
                    400, f"this schema could end the model's runner for everybody: {error}"
                ) from None


_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "/api/generate": ("format",),
    "/api/chat": ("format",),
    "/v1/chat/completions": ("response_format", "json_schema", "schema"),
    "/v1/responses": ("text", "format", "schema"),
}
"""Where the schema stands in the requests of each route."""


def _found(values: list[Any], names: tuple[str, ...]) -> list[Any]:
    """All values that a reader may find under those names, one in the other; Go takes any case."""
    for name in names:
        values = [
            item
            for value in values
            if isinstance(value, Mapping)
            for key, item in value.items()
            if key.translate(_KELVIN_AND_LONG_S).lower() == name
        ]
    return values if names else []


def _check(schema: Schema) -> None:
    references = _references(schema)
    length = len(gojson.encode(schema))
    if length > limits.SCHEMA_MAX_B:
        raise TangledError(f"it is longer than {limits.SCHEMA_MAX_B} bytes")
    if references > limits.SCHEMA_REFERENCES_MAX:
        raise TangledError(f"it has more than {limits.SCHEMA_REFERENCES_MAX} references")
    rules = Rules(schema, _check_node)
    room = max(limits.SCHEMA_TEXT_MIN_B, limits.SCHEMA_TEXT_FACTOR * length)
    for value, most, what in (
        (rules.text_b, room, "bytes of grammar, with the names of its properties and how deep they stand"),
        (rules.widest, limits.SCHEMA_CHOICES_MAX, "choices in one place"),
        (rules.optional, limits.SCHEMA_OPTIONAL_MAX, "properties that are not required"),
        (rules.repeats, limits.SCHEMA_REPEATS_MAX, "repetitions in all"),
    ):
        if value > most:
            raise TangledError(f"it makes {value:.0f} {what}; {most} may be")


def _references(schema: Schema) -> int:
    """How many there are; also those that nothing leads to are looked up."""
    level: list[Any] = [schema]
    found = 0
    for _ in range(limits.SCHEMA_DEPTH_MAX):
        found += sum(1 for node in level if isinstance(node, dict) and "$ref" in node)
        level = [item for node in level for item in _inside(node)]
        if not level:
            return found
    raise TangledError(f"it is nested deeper than {limits.SCHEMA_DEPTH_MAX} levels")


def _inside(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _check_node(node: Schema) -> int:
    """Look at one schema, as far as its type lets it matter; the repetitions it spells out."""
    kind, pattern = node.get("type"), node.get("pattern")
    for name in _CHOICES:
        if node.get(name) == []:
            raise TangledError(f"{name} is an empty list")
    if isinstance(kind, list) and len(kind) > limits.SCHEMA_TYPES_MAX:
        raise TangledError(f"it lists more than {limits.SCHEMA_TYPES_MAX} types")
    _check_names(node)
    if kind == "integer":
        _check_whole(node)
    repeats = _check_counts(node, "minLength", "maxLength") if kind == "string" else 0
    if kind in (None, "array"):
        repeats += _check_counts(node, "minItems", "maxItems")
    if kind in (None, "string") and isinstance(pattern, str):
        repeats += _check_pattern(pattern)
    return repeats


def _check_counts(node: Schema, low: str, high: str) -> int:
    least, most = _count(node, low), _count(node, high)
    if most is not None and (least or 0) > most:
        raise TangledError(f"{low} is above {high}")
    return max(least or 0, most or 0)


def _count(node: Schema, name: str) -> int | None:
    value = _number(node, name)
    if value is not None and not 0 <= value <= limits.SCHEMA_REPEAT_MAX:
        raise TangledError(f"{name} must be 0 to {limits.SCHEMA_REPEAT_MAX}")
    return None if value is None else int(value)


def _check_whole(node: Schema) -> None:
    """Bounds of whole numbers; with nothing between them, or with a single far one, no number ever fits."""
    least = _bound(node, "minimum", "exclusiveMinimum", 1)
    most = _bound(node, "maximum", "exclusiveMaximum", -1)
    if least is not None and most is not None:
        if least > most:
            raise TangledError("its range of numbers is empty")
    elif (least or 0) > limits.SCHEMA_BOUND_MAX or (most or 0) < -limits.SCHEMA_BOUND_MAX:
        raise TangledError(f"a bound of its numbers is beyond {limits.SCHEMA_BOUND_MAX}")


def _bound(node: Schema, name: str, shut: str, step: int) -> int | None:
    """A bound as the converter has it: 64 bits, of which the outermost value means none."""
    value, beyond = _number(node, name), _number(node, shut)
    if any(number is not None and not _LEAST <= number <= _MOST for number in (value, beyond)):
        raise TangledError("a bound of its numbers does not fit into 64 bits")
    if value is None and beyond is None:
        return None
    bound = int(value) if value is not None else int(beyond or 0) + step
    # The converter turns signs around, and what it cannot turn around is none either.
    return bound if -_MOST < bound < _MOST or bound * step > 0 else None


def _number(node: Schema, name: str) -> float | None:
    value = node.get(name)
    return value if isinstance(value, int | float) else None  # also true and false, which count as 1 and 0


def _check_names(node: Schema) -> None:
    properties = node.get("properties")
    for name in properties if isinstance(properties, dict) else ():
        if len(name) > limits.SCHEMA_NAME_MAX:
            raise TangledError(f"a property's name is longer than {limits.SCHEMA_NAME_MAX} characters")
    ref = node.get("$ref")
    if isinstance(ref, str) and len(ref) > limits.SCHEMA_NAME_MAX:
        raise TangledError(f"a reference is longer than {limits.SCHEMA_NAME_MAX} characters")


@functools.lru_cache(limits.SCHEMAS_KEPT)
def _check_pattern(pattern: str) -> int:
    if len(pattern) > limits.SCHEMA_PATTERN_MAX:
        raise TangledError(f"a pattern is longer than {limits.SCHEMA_PATTERN_MAX} characters")
    try:
        plain = patterns.read(pattern)
    except UnplainError as error:
        raise TangledError(f"its pattern {pattern[:60]!r} is not plain: {error}") from None
    if plain.largest > limits.SCHEMA_REPEAT_MAX:
        raise TangledError(f"its pattern repeats more than {limits.SCHEMA_REPEAT_MAX} times")
    if plain.ways > limits.SCHEMA_WAYS_MAX:
        raise TangledError(f"its pattern {pattern[:60]!r} can be read in too many ways")
    return plain.repeats
