"""Bodies of /v1/responses and /v1/messages, the doors before every route, and the front of a model file."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from farm.api.words import RefusalError
from farm.embedded import ask, doors, gguf, messages, responses
from farm.embedded.doors import Headers, Reply
from farm.embedded.template import Turn

MODEL = "smollm2:135m"
PICTURE = "data:image/png;base64,aGk="


def body(**given: Any) -> bytes:
    return json.dumps({"model": MODEL, **given}).encode()


def refused(reader: Any, **given: Any) -> str:
    with pytest.raises(RefusalError) as caught:
        reader(body(**given))
    assert caught.value.early
    return caught.value.text


# -- /v1/responses ---------------------------------------------------------------------------------


def test_responses_with_a_history() -> None:
    items = [
        {"role": "USER", "content": "a"},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "b"}, {"type": "input_image", "image_url": PICTURE},
            {"type": "input_image"}]},
        {"type": "reasoning", "encrypted_content": "hm", "summary": [{"type": "summary_text", "text": "t"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "2", "name": "g"},
        {"type": "function_call_output", "call_id": "1", "output": "d"},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "e"}]},
        {"type": "message", "role": "user"},
    ]  # fmt: skip
    made, _ = responses.read(body(input=items, instructions="S", max_output_tokens=7, top_p=0.5, stream=True))
    assert made.turns == (
        Turn("system", "S"), Turn("user", "a"), Turn("user", "b", 1), Turn("assistant", "c"),
        Turn("assistant", ""), Turn("assistant", ""), Turn("tool", "d"), Turn("tool", "e"), Turn("user", ""),
    )  # fmt: skip
    assert made.options == {"temperature": 1.0, "top_p": 0.5, "num_predict": 7}
    assert made.stream


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_responses_without_input_only_load(given: dict[str, Any]) -> None:
    made, _ = responses.read(body(**given))
    assert made.empty
    assert not made.stream


@pytest.mark.parametrize(
    ("wanted", "found"),
    [({"type": "json_schema", "schema": {"type": "object"}}, {"type": "object"}), ({"type": "text"}, None),
     ({"type": "json_schema"}, None)],
)  # fmt: skip
def test_responses_formats(wanted: dict[str, Any], found: Any) -> None:
    assert responses.read(body(input="x", text={"format": wanted}))[0].format == found


def test_responses_tools_and_thinking_are_refused_with_the_chat() -> None:
    made, _ = responses.read(body(input="x", tools=[{"name": "f", "parameters": {"type": "object"}}]))
    with pytest.raises(RefusalError, match="does not support tools"):
        ask.check_chat(made)
    made, _ = responses.read(body(input="x", reasoning={"effort": "low"}))
    with pytest.raises(RefusalError, match="does not support thinking"):
        ask.check_chat(made)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input": 5}, "input must be a string or array: json: cannot unmarshal number"),
        ({"input": [{}]}, "input[0]: input item missing required 'type' field"),
        ({"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
        ({"input": [{"role": "u", "content": 5}]}, "input[0]: content must be a string or array"),
        ({"input": [{"role": "u", "content": [{}]}]}, "input[0]: content[0]: unknown content type: "),
        ({"input": [{"type": "function_call_output", "output": 5}]}, "output must be a string or array"),
        ({"input": [{"type": "function_call", "arguments": "["}]}, "arguments: unexpected end of JSON input"),
        (
            {"input": [{"type": "function_call", "arguments": "x"}]},
            "arguments: invalid character 'x' looking",
        ),
        ({"input": [{"role": "u", "content": [{"type": "input_file"}]}]}, "file inputs are not currently"),
        ({"input": "x", "reasoning": {"effort": "x"}}, 'invalid reasoning value: "x" (must be'),
        ({"input": "x", "tools": [{"parameters": {"type": 5}}]}, "failed to unmarshal tool parameters"),
    ],
)
def test_responses_refusals(given: dict[str, Any], words: str) -> None:
    assert words in refused(responses.read, **given)


def test_a_schema_too_deep_to_be_told_back() -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(RefusalError, match="invalid JSON schema"):
        responses.read(body(input="x", text={"format": {"type": "text", "schema": deep}}))


# -- /v1/messages ------------------------------------------------------------------------------------


def _said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


SOURCE = {"type": "base64", "media_type": "image/png", "data": "aGk="}
SEARCH = {"type": "web_search_tool_result", "tool_use_id": "2", "content": [_text("w")]}
RESULT = {"type": "tool_result", "tool_use_id": "1", "content": [_text("r"), _text("s"), 5]}
CALL = {"type": "tool_use", "id": "1", "name": "f", "input": {}}


def test_messages_with_a_history() -> None:
    said = [
        {"role": "User", "content": "a"},
        _said(_text("b"), {"type": "thinking", "thinking": "hm"}, CALL, role="assistant"),
        _said(_text("c"), RESULT, {"type": "image", "source": SOURCE}),
        _said({"type": "server_tool_use"}, SEARCH, role="assistant"),
        _said({"type": "nobody knows"}, None),
        {"role": "user", "content": None},
    ]
    made, estimate = messages.read(
        body(messages=said, system=[_text("S"), {"type": "x"}], max_tokens=5, temperature=0, top_k=3,
             stop_sequences=["x"], thinking={"type": "enabled"}, stream=True)
    )  # fmt: skip
    assert made.turns == (
        Turn("system", "S"), Turn("user", "a"), Turn("assistant", "b"), Turn("tool", "rs"),
        Turn("user", "c", 1), Turn("assistant", ""), Turn("tool", "w"),
    )  # fmt: skip
    assert made.options == {"num_predict": 5, "temperature": 0, "top_k": 3, "stop": ["x"]}
    assert (made.stream, made.think) == (True, None)
    assert estimate == (len("S" + "abc" + "user" * 4 + "assistant" * 2)) // 4


@pytest.mark.parametrize(
    ("said", "system", "estimate"), [("x", None, 1), ("Say hi", None, 2), ("Tell a story", "Be brief.", 6)]
)
def test_the_estimate_of_tokens(said: str, system: str | None, estimate: int) -> None:
    asked = body(messages=[{"role": "user", "content": said}], max_tokens=1, system=system)
    assert messages.read(asked)[1] == estimate


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": ""}, "model is required"),
        ({}, "max_tokens is required and must be positive"),
        ({"max_tokens": 1}, "messages is required"),
        ({"max_tokens": 1, "messages": [{"role": "user"}]}, "unexpected end of JSON input"),
        ({"max_tokens": 1, "messages": [None]}, "unexpected end of JSON input"),
        ({"max_tokens": 1, "messages": [_said({"type": "tool_use"})]}, "missing required 'id' field"),
        (
            {"max_tokens": 1, "messages": [_said({"type": "tool_use", "id": "1"})]},
            "missing required 'name' field",
        ),
        ({"max_tokens": 1, "messages": [_said({"type": "image"})]}, "invalid image source"),
        (
            {"max_tokens": 1, "messages": [_said({"type": "image", "source": {"type": "url"}})]},
            "invalid image source type: url. Only base64 images are supported.",
        ),
        (
            {"max_tokens": 1, "messages": [_said({"type": "image", "source": SOURCE | {"data": "%"}})]},
            "invalid base64 image data: illegal base64 data at input byte 0",
        ),
        (
            {"max_tokens": 1, "messages": [_said(_text("x"))], "tools": [{"name": "f", "input_schema": 5}]},
            'invalid input_schema for tool "f": json: cannot unmarshal number into Go value of type',
        ),
    ],
)
def test_messages_refusals(given: dict[str, Any], words: str) -> None:
    assert words in refused(messages.read, **given)


def test_a_search_needs_no_schema() -> None:
    tool = {"type": "web_search_20250305", "input_schema": 5}
    made, _ = messages.read(body(messages=[_said(_text("x"))], max_tokens=1, tools=[tool, {"name": "f"}]))
    assert made.tools


# -- doors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/", "/"), ("/api/tags", "/api/tags"), ("/api/tags/", "/api/tags/"), ("//api/tags", "/api/tags"),
     ("/api/../api/tags", "/api/tags"), ("/api//tags//", "/api/tags/"), ("/api/tags/.", "/api/tags"),
     ("/..", "/"), ("//", "/"), ("", "/")],
)  # fmt: skip
def test_paths_are_cleaned(path: str, clean: str) -> None:
    assert doors.cleaned(path) == clean


@pytest.mark.parametrize(
    ("method", "moved", "status", "page"),
    [("GET", True, 301, b'<a href="/a?x&amp;y">Moved Permanently</a>.\n\n'),
     ("GET", False, 307, b'<a href="/a?x&amp;y">Temporary Redirect</a>.\n\n'),
     ("HEAD", True, 307, b'<a href="/a?x&amp;y">Temporary Redirect</a>.\n\n'), ("POST", True, 307, b"")],
)  # fmt: skip
def test_redirects(method: str, moved: bool, status: int, page: bytes) -> None:
    reply = doors.redirect(method, "/a", "x&y", moved=moved)
    assert (reply.status, reply.body) == (status, page)
    assert (b"location", b"/a?x&y") in reply.headers


def test_nothing_is_smuggled_into_a_redirect() -> None:
    reply = doors.redirect("GET", "/v1/models/a\r\nx: y ü:<1", "", moved=True)
    assert reply.headers[0] == (b"location", b"/v1/models/a%0D%0Ax:%20y%20%C3%BC:%3C1")


def test_where_no_route_leads() -> None:
    assert doors.no_route() == Reply(404, [(b"content-type", b"text/plain")], b"404 page not found")
    wrong = doors.wrong_method(ALLOW)
    assert (wrong.status, wrong.headers[0], wrong.body) == (405, ALLOW[0], b"405 method not allowed")


ALLOW: Headers = [(b"allow", b"POST")]


def _headers(host: bytes = b"127.0.0.1:1", origin: bytes | None = None) -> Headers:
    return [(b"host", host)] + ([] if origin is None else [(b"origin", origin)])


@pytest.mark.parametrize(
    ("method", "headers", "reply"),
    [
        ("GET", _headers(), None),
        ("GET", _headers(origin=b"https://evil.example"), Reply(403, ALLOW)),
        ("GET", _headers(b"evil.example"), Reply(403, ALLOW)),
        ("OPTIONS", _headers(), None),
        ("OPTIONS", _headers(b"localhost"), Reply(204, ALLOW, bodied=False)),
        ("OPTIONS", _headers(b"box.internal:80"), Reply(204, ALLOW, bodied=False)),
        ("OPTIONS", _headers(b""), Reply(204, ALLOW, bodied=False)),
        ("OPTIONS", _headers(b"localhost:1", b"http://localhost:1"), Reply(204, ALLOW, bodied=False)),
    ],
)
def test_who_is_let_in(method: str, headers: Headers, reply: Reply | None) -> None:
    assert doors.judge(method, headers, ALLOW) == (reply, [])


def test_a_page_on_this_machine_may_read_the_answer() -> None:
    reply, readable = doors.judge("GET", _headers(origin=b"http://localhost:3000"), [])
    assert reply is None
    assert readable == [(b"access-control-allow-origin", b"http://localhost:3000"), (b"vary", b"Origin")]
    reply, _ = doors.judge("OPTIONS", _headers(origin=b"http://localhost:3000"), ALLOW)
    assert reply is not None
    assert (reply.status, reply.bodied, reply.headers[-1]) == (204, False, ALLOW[0])


@pytest.mark.parametrize(("expected", "status"), [(None, None), (b"100-Continue", None), (b"200-ok", 417)])
def test_what_may_be_expected(expected: bytes | None, status: int | None) -> None:
    reply = doors.unexpected([] if expected is None else [(b"expect", expected)])
    assert (reply and reply.status) == status


# -- the front of a model file -------------------------------------------------------------------------------


def _name(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(name: str, kind: int, data: bytes) -> bytes:
    return _name(name) + struct.pack("<I", kind) + data


FRONT = (
    b"GGUF" + struct.pack("<IQQ", 3, 2, 5)
    + _value("n", 4, struct.pack("<I", 7))
    + _value("t", 8, _name("text"))
    + _value("words", 9, struct.pack("<IQ", 8, 2) + _name("a") + _name("ü"))
    + _value("numbers", 9, struct.pack("<IQ3i", 5, 3, 1, -2, 3))
    + _value("lists", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ2B", 0, 2, 4, 5))
    + _name("w") + struct.pack("<I2QIQ", 2, 4, 8, 3, 0)
    + _name("x") + struct.pack("<IQIQ", 1, 4, 99, 0)
)  # fmt: skip


def test_gguf() -> None:
    read = gguf.read_header(FRONT + b"weights")
    assert read.lists == {"words": ["a", "ü"], "numbers": [1, -2, 3], "lists": [[4, 5]]}
    assert read.tensors == (
        {"name": "w", "type": "Q4_1", "shape": [4, 8]},
        {"name": "x", "type": "unknown(99)", "shape": [4]},
    )


@pytest.mark.parametrize("data", [b"", b"ZIP!", FRONT[:-1], FRONT[:40]])
def test_no_gguf(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no GGUF|cut short"):
        gguf.read_header(data)
