"""farm.api.rules and starts: the length and the width of a grammar, beside what Ollama's converter wrote."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import limits
from farm.api import starts
from farm.api.rules import Rules, Schema, TangledError
from farm.api.starts import Start

S: Schema = {"type": "string"}


def rules(schema: Schema) -> Rules:
    return Rules(schema, lambda _: 0)


def names(count: int, front: str = "p", schema: Schema = S) -> dict[str, Schema]:
    return {f"{front}{at}": schema for at in range(count)}


def closed(properties: dict[str, Schema], **more: Any) -> Schema:
    """An object all of whose properties are required."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def nested(depth: int, name: str, schema: Schema = S) -> Schema:
    for _ in range(depth):
        schema = closed({name: schema})
    return schema


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def defined(**schemas: Any) -> Schema:
    """An object with one property of the first kind."""
    return closed({"x": ref(next(iter(schemas)))}, **{"$defs": schemas})


LIST = {"type": "array", "items": S, "minItems": 2, "maxItems": 5}
NODE = closed({"v": S, "kids": {"type": "array", "items": ref("n")}})
MEASURED: dict[str, tuple[int, Schema]] = {
    "anything": (590, {}),
    "a string": (141, S),
    "an integer between": (1794, {"type": "integer", "minimum": -123456789, "maximum": 987654321}),
    "an integer from": (305, {"type": "integer", "minimum": 123456}),
    "lengths": (145, {"type": "string", "minLength": 3, "maxLength": 9}),
    "a pattern": (160, {"type": "string", "pattern": '^[a-z]{2,5}(-[0-9]{3}){2}\\."$'}),
    "a date": (190, {"type": "string", "format": "date"}),
    "choices": (5345, {"enum": [f'choice "{at}"' for at in range(200)]}),
    "numbers": (1805, {"enum": [1e15, 0.1, -5, 1e-7] * 50}),
    "required": (3182, closed(names(50))),
    "optional": (10645, {"type": "object", "properties": names(100), "required": []}),
    "not ASCII": (6705, {"type": "object", "properties": names(60, "属性")}),
    "some of both": (4207, {"type": "object", "properties": names(40), "required": ["p3", "p5"]}),
    "and others": (4279, {"type": "object", "properties": names(30), "additionalProperties": True}),
    "and integers": (2329, {"type": "object", "properties": names(10, "long name "),
                            "additionalProperties": {"type": "integer"}}),
    "deep": (6527, nested(12, "a_rather_long_name")),
    "deep and wide": (9045, nested(8, "level", {"type": "object", "properties": names(20)})),
    "lists of lists": (328, {"type": "array", "items": {"type": "array", "items": LIST}}),
    "a tuple": (969, {"type": "array", "prefixItems": [S, {"type": "integer"},
                                                       {"type": "object", "properties": names(5)}]}),
    "types": (4080, {"type": ["string", "null", "object", "array"], "properties": names(10),
                     "items": {"type": "object", "properties": names(10)}}),
    "one of many": (28480, {"oneOf": [{"type": "object", "properties": names(8), "title": f"t{at}"}
                                      for at in range(20)]}),
    "all of": (1579, {"allOf": [{"properties": names(10)}, ref("more"),
                                {"anyOf": [{"properties": names(3, "q")}, S]}],
                      "$defs": {"more": {"type": "object", "properties": names(10, "m")}}}),
    "references": (3598, {"type": "object", "$defs": {"a": {"properties": names(10)},
                                                      "a b": {"enum": ["x", "y"]},
                                                      "b": {"type": "array", "items": ref("a")}},
                          "properties": {f"r{at}": ref(to) for at, to in enumerate(["a", "b", "a b"] * 5)}}),
    "a tree": (586, closed({"root": ref("n")}, **{"$defs": {"n": NODE | {"required": ["v"]}}})),
}  # fmt: skip
"""Bytes that the converter of Ollama 0.24 wrote."""
FIXED_B = rules({"type": "string"}).text_b


@pytest.mark.parametrize(("written", "schema"), MEASURED.values(), ids=MEASURED)
def test_the_length_is_never_too_low_and_not_much_too_high(written, schema):
    found = rules(schema).text_b
    assert written <= found
    assert found - FIXED_B <= 1.5 * written + 3400  # the second for whole numbers with bounds


@pytest.mark.parametrize(
    ("schema", "more"),
    [
        (closed({"a": closed({"b": S})}), "additionalProperties"),
        ({"type": "object"}, "properties"),
        ({}, "enum"),
    ],
)
def test_more_words_make_a_longer_grammar(schema, more):
    value = {"additionalProperties": S, "properties": names(3), "enum": ["x" * 200]}[more]
    assert rules({**schema, more: value}).text_b > rules(schema).text_b


def test_names_count_with_all_that_they_stand_in():
    flat = closed({f"{'k' * 30}{at}": S for at in range(10)})
    assert rules(nested(9, "k" * 30, flat)).text_b > 3 * rules(flat).text_b


def test_a_name_that_stands_for_another_rule_already_gets_digits():
    assert rules(closed({"a-b": S, "a_c": S})).text_b < rules(closed({"a-b": S, "a_b": S})).text_b


def test_a_schema_whose_grammar_has_no_end_is_given_up_early():
    doubling: dict[str, Any] = {"type": ["object", "object"], "properties": {"a": S}}
    for _ in range(20):
        doubling = {"type": ["object", "object"], "properties": {"a": doubling}}
    with pytest.raises(TangledError, match="too long"):
        rules(doubling)


# -- what is looked at ------------------------------------------------------------------------


def seen(schema: Schema) -> list[Any]:
    """The `title` of each schema that becomes a rule."""
    found: list[Any] = []

    def look(one: Schema) -> int:
        found.append(one.get("title"))
        return 3

    assert Rules(schema, look).repeats == 3 * len(found)
    return found


def titled(title: str, **more: Any) -> dict[str, Any]:
    return {"title": title, **more}


@pytest.mark.parametrize(
    ("schema", "titles"),
    [
        (titled("a", type="object", properties={"x": titled("b")}), "ab"),
        (titled("a", type="object", additionalProperties=titled("b")), "ab"),
        (titled("a", type="array", items=titled("b")), "ab"),
        (titled("a", prefixItems=[titled("b"), titled("c")]), "abc"),
        (titled("a", items=[titled("b")], prefixItems=[titled("c")]), "ab"),
        (titled("a", anyOf=[titled("b"), titled("c")]), "abc"),
        (titled("a", oneOf=[titled("b")], anyOf=[titled("c")]), "ab"),
        (titled("a", anyOf=[titled("b")], properties={"x": titled("c")}), "ab"),
        (titled("a", type=["string", "null"]), "aaa"),
        (titled("a", type=["object", "array"], properties={"x": titled("b")}, items=titled("c")), "aabac"),
        (titled("a", allOf=[{"properties": {"x": titled("b")}}, titled("c", type="string")]), "ab"),
        (titled("a", allOf={"x": {"properties": {"y": titled("b")}}}), "ab"),
        (titled("a", allOf=[{"anyOf": {"x": {"properties": {"y": titled("b")}}}}]), "ab"),
        (titled("a", properties=[titled("b")]), "ab"),
        (titled("a", **{"$ref": "#/$defs/b", "$defs": {"b": titled("b"), "c": titled("c")}}), "ab"),
        (titled("a", enum=["x"], properties={"x": titled("b")}), "a"),
        (titled("a", const={"title": "b"}), "a"),
        (titled("a", default=titled("b"), examples=[titled("c")], **{"not": titled("d")}), "a"),
        (titled("a", type="string", properties={"x": titled("b")}, items=titled("c")), "a"),
        (titled("a", type="array", properties={"x": titled("b")}), "a"),
        (titled("a", type="object", items=titled("b")), "a"),
    ],
)
def test_what_becomes_a_rule_is_looked_at_and_nothing_else(schema, titles):
    assert "".join(seen(schema)) == titles


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("#/$defs/a", ["root", "a"]),
        ("#/$defs/list/1", ["root", "one"]),
        ("#/properties/x", None),
        ("#/$defs/list/7", ["root"]),
        ("#/$defs/nothing/more", ["root"]),
        ("#/$defs/a/title/x", ["root"]),
        ("#", ["root"]),
        ("https://example.org/x", ["root"]),
        (7, ["root"]),
    ],
)
def test_a_reference_leads_where_the_converter_goes(path, found):
    schema = {
        "title": "root", "properties": {"x": {"$ref": path}},
        "$defs": {"a": {"title": "a"}, "list": [{"title": "zero"}, {"title": "one"}]},
    }  # fmt: skip
    if found is None:
        with pytest.raises(TangledError, match="leads back to itself"):
            seen(schema)
    else:
        assert [title for title in seen(schema) if title] == found[:1] + found[1:]


@pytest.mark.parametrize("index", [" 1", "1x", "-1", "+1", "x", "", "9" * 30])
def test_an_index_that_the_converter_might_understand_is_refused(index):
    with pytest.raises(TangledError, match="leads nowhere"):
        rules(defined(a=S) | {"properties": {"x": {"$ref": f"#/l/{index}"}}, "l": [S, S]})


# -- references that never end ---------------------------------------------------------------------


ENDLESS = {
    "itself": defined(a=ref("a")),
    "two": defined(a=ref("b"), b=ref("a")),
    "a choice": defined(a={"anyOf": [S, ref("a")]}),
    "through another": defined(a={"oneOf": [S, ref("b")]}, b={"anyOf": [ref("a"), S]}),
    "found inside first": defined(
        a={"anyOf": [closed({"p": ref("b")}), ref("b")]}, b={"anyOf": [ref("a"), S]}
    ),
}


@pytest.mark.parametrize("schema", ENDLESS.values(), ids=ENDLESS)
def test_a_reference_that_comes_back_with_nothing_said_is_refused(schema):
    with pytest.raises(TangledError, match="leads back to itself"):
        rules(schema)


@pytest.mark.parametrize(
    "parts",
    [
        [ref("a")],
        [{"anyOf": [ref("a")]}],
        [{"$ref": 7}],
    ],
)
def test_a_reference_in_all_of_that_never_ends_is_refused(parts):
    with pytest.raises(TangledError, match="allOf leads nowhere"):
        rules({"allOf": parts, "$defs": {"a": ref("a")}})


TREES = {
    "objects": defined(a=closed({"kids": {"type": "array", "items": ref("a")}, "next": ref("a")})),
    "lists": defined(a={"type": "array", "items": ref("a")}),
    "json": defined(a={"anyOf": [S, {"type": "number"}, {"type": "array", "items": ref("a")},
                                 {"type": "object", "additionalProperties": ref("a")}]}),
    "three lists": defined(a={"anyOf": [{"type": "array", "items": ref("a")}] * 3}),
    "two kinds": defined(a={"anyOf": [ref("b"), S]}, b={"type": "array", "items": ref("a")}),
}  # fmt: skip


@pytest.mark.parametrize("schema", TREES.values(), ids=TREES)
def test_trees_are_no_trouble(schema):
    assert rules(schema).widest < 10


@pytest.mark.parametrize("count", [4, 30])
def test_lists_of_lists_in_many_ways_multiply_with_each_bracket(count):
    with pytest.raises(TangledError, match="lists of lists"):
        rules(defined(a={"anyOf": [{"type": "array", "items": ref("a")}] * count}))


def test_a_chain_of_references_is_followed_so_far():
    def chain(length: int) -> Schema:
        links = {f"d{at}": closed({"a": ref(f"d{at + 1}")}) for at in range(length)}
        return defined(**links, **{f"d{length}": S})

    assert rules(chain(limits.SCHEMA_VISITS_MAX // 2 - 2)).widest == 1
    with pytest.raises(TangledError, match="nested deeper"):
        rules(chain(limits.SCHEMA_VISITS_MAX // 2))


# -- width --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "widest"),
    [
        (S, 1),
        ({"enum": []}, 1),
        ({"enum": ["a", "b", "c"]}, 3),
        ({"enum": {"x": 1, "y": 2}}, 2),
        ({"anyOf": [{"enum": ["a", "b"]}, S, {"enum": ["c"]}]}, 4),
        ({"type": ["string", "null", "number"]}, 3),
        ({"type": ["string", "null"], "enum": ["a", "b", "c"]}, 6),
        ({"type": "object", "properties": names(7)}, 7),
        ({"type": "object", "properties": names(7), "additionalProperties": S}, 8),
        (closed(names(7)), 1),
        ({"type": "object", "properties": names(7), "required": ["p0", 5]}, 6),
        ({"anyOf": [{"type": "object", "properties": names(7)}] * 3}, 21),
        ({"anyOf": [closed(names(7))] * 3}, 3),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, 2),
        ({"anyOf": [{"type": "array", "items": {"enum": ["a", "b"]}}] * 4}, 8),
        ({"prefixItems": [{"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}]}, 3),
        ({"prefixItems": []}, 1),
        (closed({"x": {"enum": ["a", "b"]}, "y": {"anyOf": [S] * 5}}), 5),
        (closed({"x": closed({"y": {"enum": ["a", "b", "c"]}})}), 3),
        ({"allOf": [{"enum": ["a", "b"]}, {"enum": ["b"]}, {"properties": names(2)}]}, 3),
        ({"allOf": [{"anyOf": [{"properties": names(4)}]}]}, 4),
        (defined(a={"anyOf": [ref("b")] * 5}, b={"anyOf": [ref("c")] * 5}, c={"anyOf": [S] * 4}), 100),
        (defined(a={"type": "array", "items": {"anyOf": [ref("b")] * 5}}, b={"enum": ["x", "y"]}), 10),
    ],
)
def test_the_most_ways_in_which_something_may_start(schema, widest):
    assert rules(schema).widest == widest


def test_references_that_double_are_counted_without_following_them_all():
    doubling = {f"d{at}": {"anyOf": [ref(f"d{at + 1}")] * 2} for at in range(25)}
    assert rules(defined(**doubling, d25=S)).widest == 2**25


@pytest.mark.parametrize(
    ("schema", "optional"),
    [
        (closed(names(50)), 0),
        ({"properties": names(8)}, 8),
        (closed({"a": {"properties": names(8)}, "b": {"properties": names(8)}}), 8 * 2 ** (1 / 3)),
    ],
)
def test_optional_properties_weigh_by_their_cubes(schema, optional):
    assert rules(schema).optional == pytest.approx(optional)


@pytest.mark.parametrize("name", ["]", "a\\b", "é", "a\tb", "日本", "\x7f"])
def test_names_that_break_the_rule_for_other_names_are_refused_beside_others(name):
    assert rules({"properties": {name: S}})
    assert rules({"properties": {name: S}, "additionalProperties": False})
    for extra in (True, {}, S):
        with pytest.raises(TangledError, match="additionalProperties"):
            rules({"properties": {name: S}, "additionalProperties": extra})


@pytest.mark.parametrize("name", ["a", "first-name", "a b", "$x", "^x", '"', "a.b/c", "[x", ""])
def test_other_names_may_stand_beside_others(name):
    assert rules({"properties": {name: S}, "additionalProperties": True}).widest == 2


WORDS = st.sampled_from([
    "type", "properties", "items", "anyOf", "allOf", "enum", "const", "$ref", "required", "prefixItems",
    "oneOf", "additionalProperties", "format", "minLength", "pattern",
])  # fmt: skip
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["object", "string", "#/a", "#/$defs/x", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("x"), inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(WORDS, ANY, max_size=5))
def test_whatever_stands_where_a_schema_should_is_measured_or_refused(schema):
    try:
        found = rules(schema)
    except TangledError:
        return
    assert found.text_b >= FIXED_B
    assert found.widest >= 1


# -- starts -----------------------------------------------------------------------------------------------


def test_what_starts_with_one_of_several_starts_in_all_their_ways():
    both = starts.either([Start(2, ("a",)), Start(3, (), ("b",))])
    assert both == Start(5, ("a",), ("b",))
    assert starts.in_list(both) == Start(5, (), ("a", "b"))
    assert starts.either([]) == Start(0)


def test_only_what_comes_back_at_once_never_ends():
    assert starts.returning({"a": Start(1, ("b",)), "b": Start(1, (), ("a",))}) is None
    assert starts.returning({"a": Start(1, ("b",)), "b": Start(1, ("a",))}) in {"a", "b"}
    assert starts.returning({"a": Start(1, ("unknown",))}) is None
    assert starts.returning({}) is None


@pytest.mark.parametrize(
    ("named", "rounds"),
    [
        ({}, 0),
        ({"a": Start(1, (), ("a",))}, 0),
        ({"a": Start(1, (), ("a", "a", "a"))}, 2),
        ({"a": Start(1, ("b", "b")), "b": Start(1, (), ("a", "a"))}, 2),
        ({"a": Start(1, (), ("b", "b")), "b": Start(1)}, 0),
        ({"a": Start(1, (), ("x", "a"))}, 0),
    ],
)
def test_more_than_one_way_back_is_counted(named, rounds):
    assert starts.rounds(named) == rounds


def test_the_widest_counts_references_by_what_they_are():
    named = {"b": Start(3), "a": Start(1, ("b", "b"))}
    assert starts.widest(named, [Start(1), Start(2, ("a",), ("b",))]) == 2 + 7 + 3
    assert starts.widest(named, []) == 1
    assert starts.widest({}, [Start(0, ("unknown",))]) == 1
