"""JSON, request fields, durations and times as Go has them."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import pytest

from farm.api import durations, gojson, gosyntax, words
from farm.api.words import RefusalError, Shape, error_answer, unknown_model
from farm.embedded import fields, gobytes, stamps
from farm.embedded.fields import Struct


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
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\xe2\x82x"', "\ufffd\ufffdx"),
        (b"[9223372036854775807,1.50]", [9223372036854775807, 1.5]),
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
        (b"[" * 100_000, "invalid character '[' exceeded max depth"),
        (b"[" + b"1," * 200_000, "invalid character somewhere in a long body"),
    ],
)
def test_decode_errors(body: bytes, words: str) -> None:
    with pytest.raises(gojson.JsonError) as caught:
        gojson.decode(body)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("literal", "value"),
    [("9223372036854775808", 9223372036854775808.0), ("9" * 5000, math.inf), ("1e999", math.inf)],
)
def test_numbers_that_are_no_64_bit_integers_keep_their_words(literal: str, value: float) -> None:
    read = gojson.decode(literal.encode())
    assert (read, read.literal) == (value, literal)
    assert gojson.encode([read]) == f"[{literal}]".encode()


def test_what_is_well_formed_and_still_too_deep_for_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shallow:
        def raw_decode(self, text: str, start: int) -> Any:
            raise RecursionError

    monkeypatch.setattr(gojson, "_DECODER", Shallow())
    with pytest.raises(gojson.JsonError) as caught:
        gojson.decode(b"[[1]]")
    assert str(caught.value) == "invalid character '[' exceeded max depth"


def test_only_a_well_formed_text_has_nothing_wrong() -> None:
    assert gosyntax.why(b' {"a":[1,-2.5e+3,"\\u12aF",true,false,null,{}],"b":[]} x') is None


@pytest.mark.parametrize(
    ("byte", "shown"),
    [(0x27, "'\\''"), (0x5C, "'\\\\'"), (0x0B, "'\\v'"), (0x7F, "'\\x7f'"), (0x85, "'\\u0085'"),
     (0xAD, "'\\u00ad'"), (0xE9, "'é'")],
)  # fmt: skip
def test_bytes_in_errors(byte: int, shown: str) -> None:
    assert gosyntax.quoted(byte) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (0.1, "0.1"), (-123.456, "-123.456"), (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"), (1e15, "1000000000000000"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (1.5e300, "1.5e+300"), (5e-324, "5e-324"),
    ],
)  # fmt: skip
def test_floats(value: float, text: str) -> None:
    assert gojson.floats(value) == text
    assert gojson.encode({"a": value}) == f'{{"a":{text}}}'.encode()


def test_a_float_that_does_not_fit_32_bits_is_infinite() -> None:
    assert (gojson.to_float32(1e300), gojson.to_float32(-1e300)) == (math.inf, -math.inf)


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


def _wilful(value: Any) -> Any:
    if value is not None:
        raise fields.WrongError("in its own words")


_INNER = Struct("api.Inner", {"y": fields.INT, "small": fields.INT32})
_SPEC = Struct(
    "api.T",
    {
        "name": fields.STRING,
        "count": fields.INT,
        "share": fields.FLOAT,
        "short": fields.FLOAT32,
        "flag": fields.BOOL,
        "any": fields.ANY,
        "raw": fields.RAW,
        "map": fields.MAP,
        "list": fields.Several(Struct("api.Item", {"x": fields.STRING}), "[]api.Item"),
        "inner": _INNER,
        "deep": fields.Several(fields.Several(fields.INT, "[]int"), "[][]int"),
        "texts": fields.Mapped(fields.STRING, "map[string]string"),
        "nameless": Struct("struct { X int }", {"x": fields.INT}),
        "own": fields.Own(lambda value: fields.unmarshal(value, _INNER)),
        "wilful": fields.Own(_wilful),
    },
)


def test_struct_matches_names_in_any_case_and_drops_the_rest() -> None:
    body = (
        b'{"NAME":"n","Count":3,"share":1,"flag":null,"any":[1],"map":{},"raw":1e999,"wilful":null,'
        b'"list":[{"X":"v","z":1}],"inner":{"Y":2},"zz":1}'
    )
    assert fields.struct(body, _SPEC) == {
        "name": "n", "count": 3, "share": 1, "any": [1], "map": {}, "list": [{"x": "v"}], "inner": {"y": 2},
        "raw": math.inf,
    }  # fmt: skip


def test_null_is_an_empty_struct() -> None:
    assert fields.struct(b"null", _SPEC) == {}


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
        (
            b'{"list":[{"x":1}]}',
            "json: cannot unmarshal number into Go struct field Item.list.x of type string",
        ),
        (b'{"inner":1}', "json: cannot unmarshal number into Go struct field T.inner of type api.Inner"),
        (
            b'{"inner":{"y":"x"}}',
            "json: cannot unmarshal string into Go struct field Inner.inner.y of type int",
        ),
        (
            b'{"inner":{"small":3000000000}}',
            "json: cannot unmarshal number 3000000000 into Go struct field Inner.inner.small of type int32",
        ),
        (
            b'{"short":1e39}',
            "json: cannot unmarshal number 1e39 into Go struct field T.short of type float32",
        ),
        (b'{"short":true}', "json: cannot unmarshal bool into Go struct field T.short of type float32"),
        (
            b'{"share":1e999}',
            "json: cannot unmarshal number 1e999 into Go struct field T.share of type float64",
        ),
        (
            b'{"any":[{"a":1e999}]}',
            "json: cannot unmarshal number 1e999 into Go struct field T.any of type float64",
        ),
        (b'{"texts":{"a":1}}', "json: cannot unmarshal number into Go struct field T.texts of type string"),
        (
            b'{"nameless":{"x":"1"}}',
            "json: cannot unmarshal string into Go struct field .nameless.x of type int",
        ),
        (b'{"own":5}', "json: cannot unmarshal number into Go struct field T.own of type api.Inner"),
        (b'{"own":{"y":[]}}', "json: cannot unmarshal array into Go struct field T.own.y of type int"),
        (b'{"name":5,"flag":5}', "json: cannot unmarshal number into Go struct field T.name of type string"),
        (b'{"name":5,"wilful":5}', "in its own words"),
        (b'{"deep":[[1],["x"]]}', "json: cannot unmarshal string into Go struct field T.deep of type int"),
        (b"{", "unexpected EOF"),
    ],
)
def test_struct_errors(body: bytes, words: str) -> None:
    with pytest.raises(RefusalError) as caught:
        fields.struct(body, _SPEC)
    assert (caught.value.status, caught.value.text) == (400, words)


def test_error_answers() -> None:
    refusal = unknown_model("x")
    native = b'{"error":"model \'x\' not found"}'
    assert error_answer(refusal, Shape.NATIVE) == ("application/json; charset=utf-8", native)
    assert error_answer(refusal, Shape.NATIVE, streamed=True) == ("application/json", native)
    kind, body = error_answer(refusal, Shape.OPENAI)
    assert kind == "application/json"
    assert body == words.openai_error(404, "model 'x' not found") + b"\n"
    early = RefusalError(400, "EOF", early=True)
    assert error_answer(early, Shape.OPENAI)[0] == "application/json; charset=utf-8"
    assert error_answer(RefusalError(403, "no", native=True), Shape.OPENAI)[1] == b'{"error":"no"}'
    assert b'"api_error"' in error_answer(RefusalError(500, "x"), Shape.OPENAI)[1]
    assert error_answer(words.busy(), Shape.ANTHROPIC, number="ab")[1] == (
        b'{"type":"error","error":{"type":"overloaded_error","message":"server busy, please try again.  '
        b'maximum pending requests exceeded"},"request_id":"req_ab"}\n'
    )


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "<nil>"), (True, "bool"), ("", "string"), (1, "float64"), (1.5, "float64"),
                        ([], "[]interface {}"), ({}, "map[string]interface {}")],
)  # fmt: skip
def test_go_types(value: Any, kind: str) -> None:
    assert fields.go_type(value) == kind


# -- base64 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "data"), [("", b""), ("aGk=", b"hi"), ("aG\r\nk=", b"hi"), ("aGk3", b"hi7"), ("aA==", b"h")]
)
def test_base64(text: str, data: bytes) -> None:
    assert gobytes.decode(text) == data


@pytest.mark.parametrize(
    ("text", "offset"),
    [("%%%", 0), ("aGk", 0), ("aGkz%", 4), ("aGkzaG", 4), ("a===", 1), ("=", 0), ("aG=", 3), ("aG=k", 2),
     ("aG==x", 4), ("aGk=x", 4), ("aGk=\nx", 5), ("aG\nk", 1)],
)  # fmt: skip
def test_base64_that_is_none(text: str, offset: int) -> None:
    with pytest.raises(gobytes.CorruptError) as caught:
        gobytes.decode(text)
    assert str(caught.value) == f"illegal base64 data at input byte {offset}"


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
        ("9999999999h", 'time: invalid duration "9999999999h"'),
    ],
)
def test_bad_durations(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^time") as caught:
        durations.parse_keep_alive(text)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(10, 10.0), (0.5, 0.5), ("0s", 0.0), (-1, math.inf), ("-1s", math.inf), (0, 0.0), (1e300, math.inf)],
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
