"""farm.grammar: schemas that ended or stalled a real Ollama 0.24 are refused; those beside them pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm import grammar, limits
from farm.api import gojson
from farm.api.words import RefusalError

S: dict[str, Any] = {"type": "string"}
N: dict[str, Any] = {"type": "integer"}
L: dict[str, Any] = {"type": "array", "items": N}


def refusal(schema: Any) -> str | None:
    """Why it is refused; None when it passes."""
    fields = {"model": "m", "format": gojson.decode(json.dumps(schema).replace("Infinity", "1e400").encode())}
    try:
        grammar.check("/api/chat", fields)
    except RefusalError as error:
        refused = error
    else:
        return None
    assert refused.status == 400
    front, _, why = refused.text.partition(": ")
    assert front == "this schema could end the model's runner for everybody"
    return why


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def nested(depth: int, schema: Any = S) -> Any:
    for _ in range(depth):
        schema = closed({"a": schema})
    return schema


def lists(depth: int) -> Any:
    schema: Any = S
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def optional(count: int, name: str = "p{}") -> dict[str, Any]:
    return {"type": "object", "properties": {name.format(at): S for at in range(count)}}


# -- one schema after the other ------------------------------------------------------------------

PASS: dict[str, Any] = {
    "nothing": {},
    "an object": closed({"name": S, "age": N}),
    "lengths": {**S, "minLength": 2000, "maxLength": 2000},
    "no length": {**S, "maxLength": 0},
    "a length that is cut": {**S, "minLength": 1.5},
    "lengths of what is no string": {**N, "minLength": 9, "maxLength": 3},
    "items": {**L, "minItems": 2000, "maxItems": 2000},
    "items of an object": {"type": "object", "properties": {"a": S}, "minItems": 9, "maxItems": 3},
    "properties in number": {"type": "object", "minProperties": 9, "maxProperties": 3},
    "a length that is no number": {**S, "minLength": "9", "maxLength": None},
    "a range": {**N, "minimum": -5, "maximum": 5},
    "a range of one": {**N, "minimum": 5, "maximum": 5},
    "an open range of one": {**N, "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "a wide range": {**N, "minimum": -(10**18), "maximum": 10**18},
    "all numbers of 64 bits": {**N, "minimum": -(2**63), "maximum": 2**63 - 1},
    "a least": {**N, "minimum": 10**15 - 1},
    "a far least below zero": {**N, "minimum": -(10**18)},
    "a most": {**N, "maximum": 10**18},
    "a near most below zero": {**N, "maximum": -(10**15) + 1},
    "the closed bound counts": {**N, "minimum": 1, "exclusiveMinimum": 9, "maximum": 3},
    "bounds of fractions": {"type": "number", "minimum": 5, "maximum": 3, "exclusiveMaximum": 1e300},
    "patterns": {**S, "pattern": "^[A-Z]{2}-[0-9]{1,4}(x|y)?$"},
    "a pattern of what is no string": {**N, "pattern": "\\d"},
    "words in examples": {**S, "examples": [{"pattern": "*", "minLength": -1}], "default": {"type": []}},
    "names like words": closed({"pattern": S, "minLength": S, "type": S, "enum": S, "$ref": S}),
    "lists of objects": lists(10),
    "objects in objects": nested(14),
    "choices": {"enum": [f"v{at}" for at in range(512)]},
    "optional properties": optional(200),
    "some in many": closed({f"o{at}": optional(12) for at in range(12)}),
    "repetitions": closed({f"p{at}": {**S, "maxLength": 2000} for at in range(50)}),
    "types": {"type": ["string", "number", "integer", "boolean", "null", "object", "array"]},
    "a long description": {**S, "description": "x" * 60_000},
    "no choice of values": {"enum": []},
    "all of nothing": {"allOf": []},
    "a tree": {**ref("n"), "$defs": {"n": closed({"kids": {"type": "array", "items": ref("n")}})}},
    "a type that is none": {"type": "weird"},
}  # fmt: skip

REFUSED: dict[str, tuple[Any, str]] = {
    # the runner ends
    "a length": ({**S, "minLength": 2001}, "minLength must be 0 to 2000"),
    "a longest": ({**S, "maxLength": 2001}, "maxLength must be 0 to 2000"),
    "a huge length": ({**S, "maxLength": 1e20}, "maxLength must be 0 to 2000"),
    "an endless length": ({**S, "maxLength": 1e400}, "maxLength must be 0 to 2000"),
    "a length below zero": ({**S, "minLength": -1}, "minLength must be 0 to 2000"),
    "items": ({**L, "minItems": 2002}, "minItems must be 0 to 2000"),
    "items below zero": ({**L, "maxItems": -1}, "maxItems must be 0 to 2000"),
    "items of no type": ({"items": S, "maxItems": 5000}, "maxItems must be 0 to 2000"),
    "no type": ({"type": []}, "type is an empty list"),
    "none of": ({"anyOf": []}, "anyOf is an empty list"),
    "not one of": ({"oneOf": []}, "oneOf is an empty list"),
    "no number between": ({**N, "minimum": 3, "maximum": 1}, "range of numbers is empty"),
    "open ends": ({**N, "exclusiveMinimum": 3, "exclusiveMaximum": 4}, "range of numbers is empty"),
    "cut ends": ({**N, "exclusiveMinimum": -0.9, "maximum": 0.5}, "range of numbers is empty"),
    "true for one": ({**N, "minimum": True, "maximum": 0}, "range of numbers is empty"),
    "more than 64 bits": ({**N, "minimum": 0, "maximum": 1e19}, "does not fit into 64 bits"),
    "less than 64 bits": ({**N, "exclusiveMinimum": -1e300}, "does not fit into 64 bits"),
    "digits": ({**S, "pattern": "^\\d{3}$"}, "its pattern '^\\\\d{3}$' is not plain"),
    "a pattern of no type": ({"pattern": "^\\w$"}, "is not plain"),
    "a count in a pattern": ({**S, "pattern": "^a{2001}$"}, "repeats more than 2000 times"),
    "names of rules that are too long": (nested(12, optional(90, "a_long_name_{}")), "bytes of grammar"),
    "optional properties with long names": (optional(250, "property_{}"), "bytes of grammar"),
    "a reference to itself": ({**ref("a"), "$defs": {"a": {"anyOf": [ref("a"), S]}}}, "itself"),
    "a name in a class": ({"properties": {"]": S}, "additionalProperties": True}, "named ']'"),
    # Ollama itself ends
    "a group": ({**S, "pattern": "^(?:a|b)$"}, "is not plain"),
    "a repetition of nothing": ({**S, "pattern": "^*$"}, "is not plain"),
    "all of itself": ({"allOf": [ref("a")], "$defs": {"a": ref("a")}}, "leads nowhere"),
    "a very long name": ({"properties": {"é" * 20_000: S}}, "name is longer than 512 characters"),
    "a very long reference": ({"$ref": "#/" + "é" * 9000}, "reference is longer than 512 characters"),
    "depth": (lists(40), "nested deeper than 32 levels"),
    # something has no end, or none that can be waited for
    "lengths the wrong way": ({**S, "minLength": 9, "maxLength": 3}, "minLength is above maxLength"),
    "true for a length": ({**S, "minLength": 5, "maxLength": True}, "minLength is above maxLength"),
    "items the wrong way": ({**L, "minItems": 9, "maxItems": 3}, "minItems is above maxItems"),
    "a far least": ({**N, "minimum": 10**15}, "beyond 999999999999999"),
    "a far open least": ({**N, "exclusiveMinimum": 10**16}, "beyond 999999999999999"),
    "the farthest least": ({**N, "minimum": 2**63 - 1, "maximum": 2**63 - 1}, "beyond 999999999999999"),
    "a far most": ({**N, "maximum": -(10**16)}, "beyond 999999999999999"),
    "a least that is none": ({**N, "minimum": -(2**63) + 1, "maximum": -(10**16)}, "beyond 9999"),
    "a stray brace": ({**S, "pattern": "^a}$"}, "is not plain"),
    "a pattern in many ways": ({**S, "pattern": "^[a-z]*[a-z]*[a-z]*$"}, "too many ways"),
    "a long pattern": ({**S, "pattern": "^" + "a" * 300 + "$"}, "longer than 256 characters"),
    "choices": ({"enum": [f"v{at}" for at in range(513)]}, "it makes 513 choices in one place; 512 may be"),
    "optional properties": ({**optional(300), "title": "x" * 20_000}, "300 properties that are not required"),
    "repetitions": (closed({f"p{at}": {**S, "maxLength": 2000} for at in range(51)}), "102000 repetitions"),
    "types": ({"type": ["string"] * 8}, "lists more than 7 types"),
    "length": ({**S, "description": "x" * 70_000}, "longer than 65536 bytes"),
    "references": (closed({f"p{at}": ref("a") for at in range(501)}), "more than 500 references"),
    "references that double": (
        {**ref("d0"), "$defs": {f"d{at}": {"anyOf": [ref(f"d{at + 1}")] * 2} for at in range(20)}},
        "choices in one place",
    ),
}  # fmt: skip


@pytest.mark.parametrize("schema", PASS.values(), ids=PASS)
def test_a_schema_that_does_no_harm_passes(schema):
    assert refusal(schema) is None


@pytest.mark.parametrize(("schema", "why"), REFUSED.values(), ids=REFUSED)
def test_a_schema_that_does_harm_is_refused_and_why(schema, why):
    told = refusal(schema)
    assert told is not None
    assert why in told


WITHIN = {
    "a property": lambda schema: closed({"x": schema}),
    "an optional property": lambda schema: {"type": "object", "properties": {"x": schema}},
    "other properties": lambda schema: {"type": "object", "additionalProperties": schema},
    "items": lambda schema: {"type": "array", "items": schema},
    "a tuple": lambda schema: {"type": "array", "prefixItems": [S, schema]},
    "one of": lambda schema: {"anyOf": [S, schema]},
    "all of": lambda schema: {"allOf": [{"properties": {"x": schema}}]},
    "a definition": lambda schema: {"$ref": "#/$defs/x", "$defs": {"x": schema}},
    "deep": lambda schema: nested(9, schema),
}
SMALL = [
    "a length",
    "no type",
    "no number between",
    "digits",
    "lengths the wrong way",
    "a far least",
    "types",
]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("put", WITHIN.values(), ids=WITHIN)
def test_harm_is_found_wherever_it_stands(name, put):
    schema, why = REFUSED[name]
    told = refusal(put(schema))
    assert told is not None
    assert why in told


@pytest.mark.parametrize("name", SMALL)
def test_harm_that_nothing_leads_to_does_none(name):
    schema, _ = REFUSED[name]
    assert refusal({"type": "object", "properties": {"x": S}, "$defs": {"unused": schema}}) is None
    assert refusal({"const": schema}) is None
    assert refusal({"type": "string", "properties": {"x": schema}}) is None


# -- where it stands in a request -----------------------------------------------------------------------

DEADLY = {**S, "minLength": 2001}
ROUTES: dict[str, Any] = {
    "/api/generate": lambda schema: {"format": schema},
    "/api/chat": lambda schema: {"format": schema},
    "/v1/chat/completions": lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    },
    "/v1/responses": lambda schema: {"text": {"format": {"type": "json_schema", "schema": schema}}},
}


def checked(path: str, fields: Any) -> bool:
    """Whether it passes."""
    try:
        grammar.check(path, fields)
    except RefusalError:
        return False
    return True


@pytest.mark.parametrize("path", ROUTES)
def test_each_route_keeps_it_elsewhere(path):
    assert not checked(path, ROUTES[path](DEADLY))
    assert checked(path, ROUTES[path](S))
    others = [fields(DEADLY) for other, fields in ROUTES.items() if fields(1) != ROUTES[path](1)]
    assert all(checked(path, fields) for fields in others)


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/messages", "/v1/embeddings", "/api/embed", "/api/pull"]
)
def test_routes_that_make_no_grammar_are_left_alone(path):
    for fields in ROUTES.values():
        assert checked(path, fields(DEADLY))


@pytest.mark.parametrize(
    "fields",
    [
        {"Response_Format": {"JSON_SCHEMA": {"Schema": DEADLY}}},
        {"re\u017fponse_format": {"j\u017fon_schema": {"\u017fchema": DEADLY}}},
        {"response_format": {"json_schema": {"schema": DEADLY}, "JSON_SCHEMA": {}}},
        {"response_format": {"json_schema": {"schema": DEADLY, "SCHEMA": S}}},
        {"response_format": {"json_schema": None, "JSON_SCHEMA": {"schema": DEADLY}}},
        {"response_format": {}, "RESPONSE_FORMAT": {"json_schema": {"schema": DEADLY}}},
    ],
)
def test_no_spelling_hides_it(fields):
    assert not checked("/v1/chat/completions", fields)


@pytest.mark.parametrize("given", [None, "json", "", 7, [], [DEADLY], True, json.dumps(DEADLY)])
@pytest.mark.parametrize("path", ROUTES)
def test_what_is_no_schema_is_left_to_the_backend(given, path):
    assert checked(path, ROUTES[path](given))
    assert checked(path, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": given}
        for given in (None, "text", [], {"json_schema": [DEADLY]}, {"schema": DEADLY})
    ],
)
def test_a_form_of_another_kind_is_left_to_the_backend(fields):
    assert checked("/v1/chat/completions", fields)


def test_a_pattern_is_shown_so_far():
    told = refusal({**S, "pattern": "^" + "a" * 200 + "\\d$"})
    assert told is not None
    assert "^aaaa" in told
    assert len(told) < 200


def test_the_limits_are_those_that_were_measured():
    assert (limits.SCHEMA_TEXT_MIN_B, limits.SCHEMA_TEXT_FACTOR) == (32_768, 4)  # llama.go, SchemaToGrammar
    assert limits.SCHEMA_REPEAT_MAX == 2000  # llama-grammar.cpp
