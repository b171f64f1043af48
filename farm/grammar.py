"""Which JSON schemas may reach a runner.

Ollama turns a schema into a grammar, and some grammars end the runner together with the streams of everybody
else, or Ollama itself, or fill the memory without end. The limits here were measured on Ollama 0.24;
what is beyond them is refused before it gets there. Pure; called by `demand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from farm import limits
from farm.api import gojson
from farm.api.words import RefusalError

_PAIRS: Final = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))
_CHOICES: Final = ("enum", "anyOf", "oneOf", "allOf")
_REPEAT = r"(?:[*+?]|\{\d{1,4}(?:,\d{0,4})?\})"
_LITERAL = r"[A-Za-z0-9 _@#%&=!~,:;<>'\"/-]|\\[dws.+*?()\[\]{}|^$\\/-]"
_CLASS = r"\[\^?(?:[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9 _@#%&=!~,:;.+*?/]|\\[dws.\\-])+-?\]"
_ATOM = rf"(?:{_LITERAL}|\.|{_CLASS})"
# No groups: some of them end Ollama itself, `(?:a|b)` for one.
_PLAIN_PATTERN: Final = re.compile(rf"\^(?:{_ATOM}{_REPEAT}?)*\$")
_SPAN: Final = re.compile(r"([A-Za-z0-9])-([A-Za-z0-9])")
_TIMES: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def check(path: str, fields: Mapping[str, Any]) -> None:
    """Look at the schema of a request, where its route keeps it.

    Args:
        path: of the route; routes that make no grammar are left alone.
        fields: of the request.

    Raises:
        RefusalError: 400, it would crash or stall the runner; the text says what the limit is.
    """
    find = _SCHEMAS.get(path)
    schema = None if find is None else find(fields)
    if isinstance(schema, dict):
        _check(schema)


def _native(fields: Mapping[str, Any]) -> Any:
    return fields.get("format")


def _of_chat(fields: Mapping[str, Any]) -> Any:
    return _within(fields, "response_format", "json_schema", "schema")


def _of_responses(fields: Mapping[str, Any]) -> Any:
    return _within(fields, "text", "format", "schema")


def _within(value: Any, *names: str) -> Any:
    for name in names:
        found = (
            [item for key, item in value.items() if key.lower() == name] if isinstance(value, Mapping) else []
        )
        value = found[-1] if found else None
    return value


_SCHEMAS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "/api/generate": _native,
    "/api/chat": _native,
    "/v1/chat/completions": _of_chat,
    "/v1/responses": _of_responses,
}


def _check(schema: dict[str, Any]) -> None:
    level: list[Any] = [schema]
    optional = choices = 0
    for _ in range(limits.SCHEMA_DEPTH_MAX):
        for node in level:
            if isinstance(node, dict):
                _check_node(node)
                optional += _optional(node) ** 2
                choices += sum(len(node[name]) for name in _CHOICES if isinstance(node.get(name), list))
        level = [item for node in level for item in _inside(node)]
        if not level:
            break
    else:
        raise _refused(f"it is nested deeper than {limits.SCHEMA_DEPTH_MAX} levels")
    if optional > limits.SCHEMA_OPTIONAL_MAX**2:
        raise _refused(f"it has more than {limits.SCHEMA_OPTIONAL_MAX} properties that are not required")
    if choices > limits.SCHEMA_CHOICES_MAX:
        raise _refused(f"it lists more than {limits.SCHEMA_CHOICES_MAX} choices")
    if len(gojson.encode(schema)) > limits.SCHEMA_MAX_B:
        raise _refused(f"it is longer than {limits.SCHEMA_MAX_B} bytes")


def _inside(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _check_node(node: dict[str, Any]) -> None:
    for pair in _PAIRS:
        for name in pair:
            count = _number(node, name)
            if count is not None and not 0 <= count <= limits.SCHEMA_REPEAT_MAX:
                raise _refused(f"{name} must be 0 to {limits.SCHEMA_REPEAT_MAX}")
        _check_range(node, *pair)
    _check_numbers(node)
    for name in ("type", *_CHOICES):
        if node.get(name) == []:
            raise _refused(f"{name} is an empty list")
    pattern = node.get("pattern")
    if isinstance(pattern, str) and not _is_plain(pattern):
        raise _refused(
            "its pattern is not of the plain kind: ^ at its front, $ at its end, between them characters and "
            f"classes, each with a repetition up to {limits.SCHEMA_REPEAT_MAX} if you like"
        )


def _check_range(node: dict[str, Any], low: str, high: str) -> None:
    least, most = _number(node, low), _number(node, high)
    if least is not None and most is not None and least > most:
        raise _refused(f"{low} is above {high}")


def _check_numbers(node: dict[str, Any]) -> None:
    """A range of numbers without a whole number in it makes no grammar."""
    least, above = _number(node, "minimum"), _number(node, "exclusiveMinimum")
    most, below = _number(node, "maximum"), _number(node, "exclusiveMaximum")
    bottom = max((n for n in (least, None if above is None else above + 1) if n is not None), default=None)
    top = min((n for n in (most, None if below is None else below - 1) if n is not None), default=None)
    if bottom is not None and top is not None and bottom > top:
        raise _refused("its range of numbers is empty")


def _number(node: dict[str, Any], name: str) -> float | None:
    value = node.get(name)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _optional(node: dict[str, Any]) -> int:
    """Properties of an object that may be left out: the grammar grows with the square of their number."""
    properties, required = node.get("properties"), node.get("required")
    if not isinstance(properties, dict):
        return 0
    return len(properties) - len(set(_names(required)) & properties.keys())


def _names(required: Any) -> Iterator[str]:
    for name in required if isinstance(required, list) else ():
        if isinstance(name, str):
            yield name


def _is_plain(pattern: str) -> bool:
    """Whether a pattern is one of those that were shown to be harmless."""
    if len(pattern) > limits.SCHEMA_PATTERN_MAX or not _PLAIN_PATTERN.fullmatch(pattern):
        return False
    spans = all(
        low <= high and _kind(low) == _kind(high)
        for inside in re.findall(r"\[(.*?)\]", pattern)
        for low, high in _SPAN.findall(inside)
    )
    times = all(
        int(least) <= limits.SCHEMA_REPEAT_MAX
        and (not most or int(least) <= int(most) <= limits.SCHEMA_REPEAT_MAX)
        for least, most in _TIMES.findall(pattern)
    )
    return spans and times


def _kind(char: str) -> int:
    return 0 if char.isdigit() else 1 if char.isupper() else 2


def _refused(why: str) -> RefusalError:
    return RefusalError(400, f"this schema could end the model's runner for everybody: {why}")
