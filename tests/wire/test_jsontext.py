import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import jsontext, limits
from wire.jsontext import JsonError

DEEP = 20_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.one_of(st.text(), st.binary()))
def test_any_text_is_parsed_or_refused_as_json_error(text):
    try:
        value = jsontext.loads(text)
    except JsonError:
        return
    assert value == json.loads(text)


def test_a_refusal_is_one_bounded_sentence():
    for text in ("x" * 10_000, "[" * DEEP, "9" * 5000, "NaN"):
        with pytest.raises(JsonError) as caught:
            jsontext.loads(text)
        assert 0 < len(str(caught.value)) <= 120
    with pytest.raises(JsonError) as caught:
        jsontext.pairs('{"a":' + "9" * 5000 + "}")
    assert 0 < len(str(caught.value)) <= 120
    for read in (jsontext.loads, jsontext.pairs):
        with pytest.raises(JsonError, match="Expecting"):
            read("{")


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert jsontext.loads(jsontext.dumps(value)) == value
    assert jsontext.loads(jsontext.body(value)) == value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a":[NaN]}'])
def test_constants_that_json_has_not_are_refused(text):
    with pytest.raises(JsonError, match="is not JSON"):
        jsontext.loads(text)


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "[" * DEEP + "]" * DEEP])
def test_nesting_bombs_are_refused(text):
    with pytest.raises(JsonError):
        jsontext.loads(text)


MANY = limits.JSON_VALUES_MAX + 2
BOMBS = [
    "[" + "1," * MANY + "1]",
    "{" + ",".join(f'"{number}":0' for number in range(limits.JSON_MEMBERS_MAX + 1)) + "}",
    "[" + "[]," * limits.JSON_MEMBERS_MAX + "[]]",
    "[" + "{}," * limits.JSON_MEMBERS_MAX + "{}]",
    '[{"a" :' + '"",' * MANY,
    '"' * MANY * 2 + ":" * MANY,
]


@pytest.mark.parametrize("text", BOMBS, ids=["numbers", "members", "lists", "objects", "strings", "quotes"])
@pytest.mark.parametrize("read", [jsontext.loads, jsontext.pairs])
def test_bombs_of_small_values_are_refused_before_they_are_parsed(monkeypatch, read, text):
    monkeypatch.setattr(jsontext.json, "loads", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(JsonError, match="more than"):
        read(text)


@pytest.mark.parametrize("sign", [",", ":", "[", "{}", '","', '\\":', "a, b: {c}\n"])
def test_prose_of_any_signs_is_read_whole(sign):
    value = {"prompt": sign * MANY}
    assert jsontext.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("most", "more"),
    [
        ("[1,1,1,1,1]", "[1,1,1,1,1,1]"),
        ('{"a":1,"b":1,"c":1}', '{"a":1,"b":1,"c":1,"d":1}'),
        ("[[],[]]", "[[],[],[]]"),
        ("[{},[]]", "[{},[],{}]"),
        ('["::::","b","c","d"]', '["::::","b","c","d","e"]'),
        ('{"::::":1,"b":1,"c":1}', '{"::::":1,"b":1,"c":1,"d":1}'),
    ],
)
def test_as_many_values_and_members_as_allowed_are_read_and_not_one_more(monkeypatch, most, more):
    monkeypatch.setattr(limits, "JSON_VALUES_MAX", 4)
    monkeypatch.setattr(limits, "JSON_MEMBERS_MAX", 3)
    assert jsontext.loads(most) == json.loads(most)
    with pytest.raises(JsonError, match="more than 4 values, or 3 members"):
        jsontext.loads(more)


def test_a_text_of_the_longest_context_is_read():
    text = "[" + "1," * (limits.JSON_VALUES_MAX - 1) + "1]"
    assert len(jsontext.loads(text)) == limits.JSON_VALUES_MAX


@pytest.mark.parametrize("last", ["", "\\", "\\\\", '\\"'])
def test_a_string_without_an_end_is_looked_at_once(last):
    # Looked at anew from each quote in it, this would take hours.
    text = ":" * (limits.JSON_MEMBERS_MAX + 1) + '"' + '\\"' * 1_000_000 + last
    with pytest.raises(JsonError):
        jsontext.loads(text)


def test_an_integer_of_thousands_of_digits_is_refused():
    with pytest.raises(JsonError):
        jsontext.loads("9" * 5000)


@pytest.mark.parametrize("text", ["", "{", "{'a':1}", "[1,]", b"\xff", '"\n"'])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(JsonError):
        jsontext.loads(text)


def test_text_is_compact_and_keeps_letters_of_all_languages():
    assert jsontext.dumps({"a": ["é", 1]}) == '{"a":["é",1]}'
    assert jsontext.quote('é"') == '"é\\""'


@given(st.text(st.characters(codec=None, categories=["L", "Cs"])))
def test_a_body_is_pure_ascii_and_survives_lone_surrogates(text):
    assert json.loads(jsontext.body(text).decode("ascii")) == text


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, [1, {"a": math.inf}]])
def test_a_body_without_json_form_is_refused(value):
    with pytest.raises(JsonError, match="Out of range"):
        jsontext.body(value)
    with pytest.raises(ValueError, match="Out of range"):
        jsontext.dumps(value)


def test_a_body_too_deep_to_write_is_refused():
    value: list = []
    for _ in range(DEEP):
        value = [value]
    with pytest.raises(JsonError, match=r"."):
        jsontext.body(value)
    while value:  # taken apart by hand: freeing it recursively would be the same trap
        value = value.pop()


@pytest.mark.parametrize("raw", ['"a"'.encode("utf-16"), '"a"'.encode("utf-32"), b"\xef\xbb\xbf1"])
def test_bytes_are_utf8_without_byte_order_mark_and_nothing_else(raw):
    with pytest.raises(JsonError):
        jsontext.loads(raw)


@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.integers() | st.text()), max_size=4))
def test_the_members_of_an_object_come_in_order_with_repeated_names(members):
    text = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in members) + "}"
    assert jsontext.pairs(text) == members
    assert jsontext.pairs(text.encode()) == members


@pytest.mark.parametrize(
    "text", ["[]", '[["a",1]]', "5", "null", '"{}"', "{", "NaN", "[" * DEEP, '{"a":NaN}', b"\xff"]
)
def test_what_is_no_object_has_no_members(text):
    with pytest.raises(JsonError, match=r"."):
        jsontext.pairs(text)
