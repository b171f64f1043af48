"""JSON, request fields, durations and times as Go has them."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from farm.embedded import durations, fields, gojson, stamps, words
from farm.embedded.words import RefusalError, error_answer, unknown_model


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": [True, None]}, '{"a":1,"b":[true,null]}'),
        ("<|im_end|> & ü 😀", '"\\u003c|im_end|\\u003e \\u0026 ü 😀"'),
        ("\u2028\u2029\n", '"\\u2028\\u2029\\n"'),
        ("\ud800", '"\ufffd"'),
    ],
)
def test_encode(value: object, text: str) -> None:
    assert gojson.encode(value).decode() == text


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a":1} trailing', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"a\xff\xfeb"', "a\ufffd\ufffdb"),
        (b'{"a\\ud800":["\\udc00x"],"n":1}', {"a\ufffd": ["\ufffdx"], "n": 1}),
        (b'"\\ud83d\\ude00"', "😀"),
    ],
)
def test_decode(body: bytes, value: Any) -> None:
    assert gojson.decode(body) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b'{"model": ', "unexpected EOF"),
        (b'"abc', "unexpected EOF"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a":1, }', "invalid character '}' looking for beginning of object key string"),
        (b"{]", "invalid character ']' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"\xef\xbb\xbf{}", "invalid character 'ï' looking for beginning of value"),
        (b"\x1f\x8b", "invalid character '\\x1f' looking for beginning of value"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_decode_errors(body: bytes, words: str) -> None:
    with pytest.raises(gojson.JsonError) as caught:
        gojson.decode(body)
    assert str(caught.value) == words


def test_newer_parsers_words_are_known() -> None:
    # Python 3.13 names the comma where 3.11 names what follows it.
    import json

    error = json.JSONDecodeError("Illegal trailing comma before end of object", '{"a":1, }', 6)
    assert (
        gojson._go_words('{"a":1, }', error)
        == "invalid character '}' looking for beginning of object key string"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.012705961, "-0.012705961"),
        (0.7629211, "0.7629211"),
        (-0.533276, "-0.533276"),
        (1.0, "1"),
        (0.0, "0"),
        (0.00002, "0.00002"),
        (0.0011062855, "0.0011062855"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (123456789.0, "123456790"),
        (2e21, "2e+21"),
    ],
)
def test_float32(value: float, text: str) -> None:
    assert gojson.float32(value) == text
    assert gojson.to_float32(float(text)) == gojson.to_float32(value)


# -- fields -----------------------------------------------------------------------------------

_SPEC: fields.Spec = {
    "name": fields.STRING,
    "count": fields.INT,
    "share": fields.FLOAT,
    "flag": fields.BOOL,
    "any": fields.ANY,
    "map": fields.MAP,
    "list": fields.Several({"x": fields.STRING}, "[]api.Item"),
    "inner": {"y": fields.INT},
    "deep": fields.Several(fields.Several(fields.INT, "[]int"), "[][]int"),
}


def test_struct_matches_names_in_any_case_and_drops_the_rest() -> None:
    body = (
        b'{"NAME":"n","Count":3,"share":1,"flag":null,"any":[1],"map":{},'
        b'"list":[{"X":"v","z":1}],"inner":{"Y":2},"zz":1}'
    )
    assert fields.struct(body, "api.T", _SPEC) == {
        "name": "n", "count": 3, "share": 1, "any": [1], "map": {}, "list": [{"x": "v"}], "inner": {"y": 2},
    }  # fmt: skip


def test_null_is_an_empty_struct() -> None:
    assert fields.struct(b"null", "api.T", _SPEC) == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"[]", "json: cannot unmarshal array into Go value of type api.T"),
        (b'"x"', "json: cannot unmarshal string into Go value of type api.T"),
        (b'{"name":5}', "json: cannot unmarshal number into Go struct field T.name of type string"),
        (b'{"count":1.5}', "json: cannot unmarshal number 1.5 into Go struct field T.count of type int"),
        (b'{"count":true}', "json: cannot unmarshal bool into Go struct field T.count of type int"),
        (b'{"share":"x"}', "json: cannot unmarshal string into Go struct field T.share of type float64"),
        (b'{"flag":{}}', "json: cannot unmarshal object into Go struct field T.flag of type bool"),
        (b'{"list":{}}', "json: cannot unmarshal object into Go struct field T.list of type []api.Item"),
        (b'{"list":[1]}', "json: cannot unmarshal number into Go struct field T.list of type api.Item"),
        (b'{"list":[{"x":1}]}', "json: cannot unmarshal number into Go struct field T.list.x of type string"),
        (b'{"inner":1}', "json: cannot unmarshal number into Go struct field T.inner of type struct"),
        (b'{"deep":[[1],["x"]]}', "json: cannot unmarshal string into Go struct field T.deep of type int"),
        (b"{", "unexpected EOF"),
    ],
)
def test_struct_errors(body: bytes, words: str) -> None:
    with pytest.raises(RefusalError) as caught:
        fields.struct(body, "api.T", _SPEC)
    assert (caught.value.status, caught.value.text) == (400, words)


def test_error_answers() -> None:
    refusal = unknown_model("x")
    assert error_answer(refusal, openai=False) == (
        "application/json; charset=utf-8",
        b'{"error":"model \'x\' not found"}',
    )
    assert error_answer(refusal, openai=False, streamed=True)[0] == "application/json"
    kind, body = error_answer(refusal, openai=True)
    assert kind == "application/json"
    assert body == words.openai_error(404, "model 'x' not found") + b"\n"
    early = RefusalError(400, "EOF", early=True)
    assert error_answer(early, openai=True)[0] == "application/json; charset=utf-8"
    assert error_answer(RefusalError(403, "no", native=True), openai=True)[1] == b'{"error":"no"}'
    assert b'"api_error"' in error_answer(RefusalError(500, "x"), openai=True)[1]


# -- durations and times --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("0s", 0), ("0", 0), ("1.5s", 1.5), (".5s", 0.5), ("-5m", -300),
     ("+2ms", 0.002), ("7us", 7e-6), ("7µs", 7e-6), ("9ns", 9e-9)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("soon", 'time: invalid duration "soon"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("300", 'time: missing unit in duration "300"'),
        ("3d", 'time: unknown unit "d" in duration "3d"'),
        ("1h!", 'time: invalid duration "1h!"'),
    ],
)
def test_bad_durations(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^time") as caught:
        durations.parse_keep_alive(text)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("value", "seconds"), [(10, 10.0), (0.5, 0.5), ("0s", 0.0), (-1, math.inf), ("-1s", math.inf), (0, 0.0)]
)
def test_keep_alive(value: Any, seconds: float) -> None:
    assert durations.parse_keep_alive(value) == seconds


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "bool"), ([], "[]interface {}"), ({}, "map[string]interface {}")]
)
def test_keep_alive_types(value: Any, kind: str) -> None:
    with pytest.raises(ValueError, match="Unsupported type") as caught:
        durations.parse_keep_alive(value)
    assert str(caught.value) == f"Unsupported type: '{kind}'"


def test_stamps() -> None:
    assert stamps.utc(1_795_245_739_451_239_086) == "2026-11-21T07:22:19.451239086Z"
    assert stamps.utc(1_795_245_739_186_260_420) == "2026-11-21T07:22:19.18626042Z"
    assert stamps.utc(1_795_245_739_000_000_000) == "2026-11-21T07:22:19Z"
    zone = dt.timezone(dt.timedelta(hours=1))
    assert stamps.stamp(1_795_245_739_500_000_000, zone) == "2026-11-21T08:22:19.5+01:00"
    assert dt.datetime.fromisoformat(stamps.stamp(1_795_245_739_000_000_000)).timestamp() == 1_795_245_739
