"""A peer's json, body_b64 and data as bytes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import requestbody
from wire.errors import PeerFault

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("req", "expected"),
    [
        ({}, (None, False)),
        ({"json": None, "body_b64": None, "data": None}, (None, False)),
        ({"json": {}}, (b"{}", True)),
        ({"json": []}, (b"[]", True)),
        ({"json": 0}, (b"0", True)),
        ({"json": False}, (b"false", True)),
        ({"json": ""}, (b'""', True)),
        ({"json": {"a": "é"}}, (b'{"a":"\\u00e9"}', True)),
        ({"json": {"a": "\ud800"}}, (b'{"a":"\\ud800"}', True)),
        ({"body_b64": ""}, (b"", False)),
        ({"body_b64": "AAEC/w=="}, (b"\x00\x01\x02\xff", False)),
        ({"data": ""}, (b"", False)),
        ({"data": "né"}, ("né".encode(), False)),
        ({"data": {"model": "m"}}, (b'{"model":"m"}', True)),
        ({"data": [1]}, (b"[1]", True)),
        ({"json": None, "data": "x"}, (b"x", False)),
    ],
)
def test_each_way_to_give_a_body(req, expected):
    assert requestbody.decode(req) == expected


@pytest.mark.parametrize(
    ("req", "word"),
    [
        ({"json": 1, "data": "x"}, "only one"),
        ({"json": 1, "body_b64": "AA=="}, "only one"),
        ({"body_b64": "AA==", "data": "x"}, "only one"),
        ({"json": float("inf")}, "json"),
        ({"json": [float("-inf")]}, "json"),
        ({"json": float("nan")}, "json"),
        ({"body_b64": 5}, "body_b64"),
        ({"body_b64": ["AA=="]}, "body_b64"),
        ({"body_b64": "A"}, "body_b64"),
        ({"body_b64": "AA=\n="}, "body_b64"),
        ({"body_b64": "é"}, "body_b64"),
        ({"body_b64": "A-_A"}, "body_b64"),
        ({"data": 5}, "data"),
        ({"data": True}, "data"),
        ({"data": "\udc00"}, "surrogate"),
        ({"data": {"a": float("inf")}}, "json"),
    ],
)
def test_what_cannot_be_sent_is_named(req, word):
    with pytest.raises(PeerFault) as caught:
        requestbody.decode(req)
    assert (caught.value.code, caught.value.status) == ("bad_request", 400)
    assert word in caught.value.detail


def test_nesting_that_cannot_be_written_is_a_bad_request():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PeerFault, match=r"nested too deep|recursion"):
        requestbody.decode({"json": deep})


@given(JSON_VALUES.filter(lambda value: value is not None))
def test_json_arrives_as_the_same_value_in_plain_ascii(value):
    body, is_json = requestbody.decode({"json": value})
    assert is_json
    assert body.isascii()
    assert json.loads(body) == value


@given(st.binary(max_size=300))
def test_any_bytes_pass_through_base64(raw):
    assert requestbody.decode({"body_b64": base64.b64encode(raw).decode()}) == (raw, False)


def test_what_came_in_pieces_is_no_json_of_ours():
    assert requestbody.decode({}, b"{}") == (b"{}", False)
