"""How long and how wide the grammar gets that Ollama makes of a JSON schema.

Goes through a schema as Ollama's converter does and adds up what it would write: never less than that. A
grammar is cut off at a limit, and half a grammar ends the runner. Pure; called by `farm.grammar`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from farm import limits
from farm.api import gojson, starts
from farm.api.starts import Start

Schema = Mapping[str, Any]

_FIXED_B: Final = 2000
"""Rules for strings, numbers, dates and the like, which are written once."""
_FIXED: Final = frozenset({
    "root", "space", "dot", "boolean", "decimal-part", "integral-part", "number", "integer", "value",
    "object", "array", "uuid", "char", "string", "null", "date", "time", "date-time", "date-string",
    "time-string", "date-time-string",
})  # fmt: skip
_LONGEST_FIXED: Final = 16
_SUFFIX_B: Final = 4
"""Digits behind a name that stands for another rule already."""
_NOT_IN_NAMES: Final = re.compile("[^a-zA-Z0-9-]+")
_NOT_IN_TRIES: Final = re.compile(r"[^ -\[^-~]")
"""Names of properties with one of these go into a class of characters as they are, and break it."""
_INDEX: Final = re.compile("[0-9]{1,9}")
_EXPONENT: Final = re.compile(rb"[0-9][eE]")
_ENDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_ONE: Final = Start()


class TangledError(ValueError):
    """No grammar can be made of a schema; says why."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a schema became.

    Attributes:
        name_b: length of the name under which others mention it.
        start: how its text may start.
    """

    name_b: int
    start: Start = _ONE


class Rules:
    """The grammar of one schema.

    Args:
        schema: the whole of it.
        look: called with each schema in it that becomes a rule; its repetitions.

    Attributes:
        text_b: length of the grammar, at most.
        widest: the most ways in which a value may start, each of which is followed by itself.
        repeats: repetitions that are spelled out.
        optional: properties that may be left out; several objects: root of the sum of their cubes.

    Raises:
        TangledError: of a kind that ends the runner.
    """

    def __init__(self, schema: Schema, look: Callable[[Schema], int]) -> None:
        self.text_b = _FIXED_B
        self.repeats = 0
        self.optional = 0.0
        self._schema = schema
        self._look = look
        self._depth = 0
        self._names = set(_FIXED)
        self._made: dict[str, _Rule] = {}
        self._starts: list[Start] = []
        self._visit(schema, "")
        named = {ref: rule.start for ref, rule in self._made.items()}
        returning = starts.returning(named)
        if returning is not None:
            raise TangledError(f"{returning[:40]!r} leads back to itself")
        if starts.rounds(named) > limits.SCHEMA_ROUNDS_MAX:
            raise TangledError("it has lists of lists of the same kind in too many ways")
        self.widest = starts.widest(named, self._starts)

    def _visit(self, schema: Any, name: str) -> _Rule:
        """The rule of a schema, or of what stands where a schema should."""
        if not isinstance(schema, dict):
            return _Rule(_LONGEST_FIXED)
        self.repeats += self._look(schema)
        self._depth += 1
        if self._depth > limits.SCHEMA_VISITS_MAX:
            raise TangledError(
                f"it is nested deeper than {limits.SCHEMA_VISITS_MAX} levels by its references"
            )
        made = self._combined(schema, name) or self._typed(schema, name)
        self._depth -= 1
        self._starts.append(made.start)
        return made

    def _combined(self, schema: Schema, name: str) -> _Rule | None:
        """Words that come before the type, in their order."""
        if "$ref" in schema:
            return self._reference(schema["$ref"], name)
        for word in ("oneOf", "anyOf"):
            if word in schema:
                return self._union(_listed(schema[word]), name)
        if isinstance(schema.get("type"), list):
            return self._union(({**schema, "type": one} for one in schema["type"]), name)
        if "const" in schema:
            return self._write(name, _literal_b(schema["const"]))
        if "enum" in schema:
            choices = _each(schema["enum"])
            return self._write(name, sum(map(_literal_b, choices)), Start(len(choices)))
        return None

    def _typed(self, schema: Schema, name: str) -> _Rule:
        """Words that belong to a type, in their order."""
        kind = schema.get("type")
        extra = schema.get("additionalProperties", True)
        if kind in (None, "object") and ("properties" in schema or extra is not True):
            required = frozenset(key for key in _listed(schema.get("required")) if isinstance(key, str))
            given = extra if "additionalProperties" in schema else None
            return self._object(_pairs(schema.get("properties")), required, given, name)
        if kind in (None, "object", "string") and "allOf" in schema:
            return self._all(_each(schema["allOf"]), name)
        if kind in (None, "array") and ("items" in schema or "prefixItems" in schema):
            return self._array(schema.get("items", schema.get("prefixItems")), name)
        return self._plain(schema, name)

    def _plain(self, schema: Schema, name: str) -> _Rule:
        """A string, a number or the like."""
        kind, pattern = schema.get("type"), schema.get("pattern")
        if kind in (None, "string") and isinstance(pattern, str):
            # A count makes a rule of its own, and a mention of it.
            counts = pattern.count("{") * 2 * (len(name) + _LONGEST_FIXED)
            return self._write(name, 6 * len(pattern.encode()) + counts)
        ends = [schema[word] for word in _ENDS if word in schema] if kind == "integer" else []
        if ends or "format" in schema or kind == "object" or not schema:
            return self._write(name, 20 + _span_b(ends))
        if kind == "string" and ("minLength" in schema or "maxLength" in schema):
            return self._write(name, 40)
        return _Rule(_LONGEST_FIXED)

    def _union(self, schemas: Iterable[Any], name: str) -> _Rule:
        front = f"{name}-" if name else "alternative-"
        made = [self._visit(schema, f"{front}{at}") for at, schema in enumerate(schemas)]
        start = starts.either([rule.start for rule in made])
        return self._write(name, sum(rule.name_b + 3 for rule in made), start)

    def _reference(self, ref: Any, name: str) -> _Rule:
        if not isinstance(ref, str):
            return _Rule(_LONGEST_FIXED)
        target = f"ref{ref.partition('#')[2]}"
        if ref not in self._made:
            self._made[ref] = _Rule(len(target) + _SUFFIX_B)  # while it is made
            made = self._visit(_at(self._schema, ref), target)
            del self._made[ref]  # their order is that in which they were complete
            self._made[ref] = made
        return self._write(name, self._made[ref].name_b, Start(0, (ref,)))

    def _object(
        self, pairs: Iterable[tuple[str, Any]], required: frozenset[str], extra: Any, name: str
    ) -> _Rule:
        text_b = optional = 0
        keys = []
        for key, schema in pairs:
            inner = _inner(name, key)
            value = self._visit(schema, inner)
            pair = self._write(f"{inner}-kv", _literal_b(key) + value.name_b)
            text_b += pair.name_b + 11
            if key not in required:
                optional += 1
                text_b += self._rest(inner, pair)
            keys.append(key)
        if extra is True or isinstance(extra, dict):
            optional += 1
            text_b += self._more(keys, extra, _inner(name, "additional"))
        self.optional = (self.optional**3 + optional**3) ** (1 / 3)
        start = Start(max(1, optional))
        self._starts.append(start)
        return self._write(name, text_b + 40, _ONE if required & set(keys) else start)

    def _more(self, keys: Sequence[str], extra: Any, name: str) -> int:
        """Properties that have no names; what mentions of them add to the object's rule."""
        for key in keys:
            if _NOT_IN_TRIES.search(key):
                raise TangledError(f"additionalProperties stands beside a property named {key[:40]!r}")
        value = self._visit(extra, f"{name}-value")
        other = self._write(f"{name}-k", 40 + sum(map(len, keys)) * 40)
        pair = self._write(f"{name}-kv", other.name_b + value.name_b + 14)
        return 2 * pair.name_b + 30 + self._rest(name, pair)

    def _rest(self, name: str, pair: _Rule) -> int:
        """Whatever may follow an optional property; what its mention adds."""
        rest = self._write(f"{name}-rest", pair.name_b + 16)
        return 2 * rest.name_b + 2  # here, and in the rest before it

    def _all(self, schemas: Sequence[Any], name: str) -> _Rule:
        """Properties or choices of several schemas together."""
        pairs: list[tuple[str, Any]] = []
        required: set[str] = set()
        choices: list[Any] = []
        for schema in schemas:
            either = isinstance(schema, dict) and "anyOf" in schema
            for part in _each(schema["anyOf"]) if either else [schema]:
                found = self._followed(part)
                if "properties" in found:
                    pairs += _pairs(found["properties"])
                    required |= set() if either else {key for key, _ in _pairs(found["properties"])}
                else:
                    choices += _each(found.get("enum"))
        chosen = self._write(name, sum(map(_literal_b, choices)), Start(len(choices)))
        made = self._object(pairs, frozenset(required), None, name)
        return _Rule(made.name_b, Start(max(made.start.known, chosen.start.known)))

    def _followed(self, schema: Any) -> Schema:
        seen = set()
        while isinstance(schema, dict) and "$ref" in schema:
            ref = schema["$ref"]
            if not isinstance(ref, str) or ref in seen:
                raise TangledError("a reference in allOf leads nowhere")
            seen.add(ref)
            schema = _at(self._schema, ref)
        return schema if isinstance(schema, dict) else {}

    def _array(self, items: Any, name: str) -> _Rule:
        if isinstance(items, list):
            made = [self._visit(item, _inner(name, f"tuple-{at}")) for at, item in enumerate(items)]
            start = starts.in_list(made[0].start) if made else _ONE
            return self._write(name, 24 + sum(rule.name_b + 13 for rule in made), start)
        item = self._visit(items, _inner(name, "item"))
        return self._write(name, 2 * item.name_b + 60, starts.in_list(item.start))

    def _write(self, name: str, text_b: int, start: Start = _ONE) -> _Rule:
        """One rule of the grammar."""
        name = _NOT_IN_NAMES.sub("-", name) or "root"
        name_b = len(name) + _SUFFIX_B * (name in self._names)
        self._names.add(name)
        self.text_b += name_b + text_b + 6
        if self.text_b > limits.SCHEMA_TEXT_MAX_B:
            raise TangledError("it is too long, with the names of its properties and how deep they stand")
        return _Rule(name_b, start)


def _inner(name: str, key: str) -> str:
    return f"{name}-{key}" if name else key


def _at(schema: Any, ref: str) -> Any:
    """What a reference names, as the converter finds it; None when it finds nothing.

    Raises:
        TangledError: it would be found in a way that is not followed here.
    """
    if not ref.startswith("#/"):
        return None
    for step in ref.split("/")[1:]:
        if isinstance(schema, dict):
            schema = schema.get(step)
        elif isinstance(schema, list):
            if not _INDEX.fullmatch(step):
                raise TangledError(f"{ref[:40]!r} leads nowhere")
            schema = schema[int(step)] if int(step) < len(schema) else None
    return schema


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _each(value: Any) -> list[Any]:
    """What the converter's loops go through: a list's items, an object's values, or the value itself."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [] if value is None else [value]


def _pairs(value: Any) -> list[tuple[str, Any]]:
    # A list is taken for an object with numbers for names.
    named = {str(at): item for at, item in enumerate(value)} if isinstance(value, list) else value
    return list(named.items()) if isinstance(named, dict) else []


def _literal_b(value: Any) -> int:
    """A JSON text as it stands in a grammar: quotes, and a backslash before each quote and backslash."""
    text = gojson.encode(value)
    zeros = 20 * len(_EXPONENT.findall(text))  # an exponent is written out
    return len(text) + text.count(b'"') + text.count(b"\\") + zeros + 16


def _span_b(ends: Sequence[Any]) -> int:
    """The digits between two bounds, one by one."""
    return 24 * max((len(gojson.encode(end)) for end in ends), default=0) ** 2 + 80
