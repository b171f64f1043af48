"""Bad bodies: no JSON, the wrong type in every known field, numbers and depths that are too much.

The words were recorded from a real Ollama 0.24.0; with OLLAMA_TEST_HOST the one named there must say the
same.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from refusals import BAD_JSON, BASES, RECORDED, said_to
from scenes import engine_pid

MODEL = "smollm2:135m"


class Asker:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._wire = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)

    def ask(self, path: str, body: str | bytes) -> tuple[int, str, str]:
        """Status, content type and body."""
        method = "DELETE" if path == "/api/delete" else "POST"
        data = body.encode() if isinstance(body, str) else body
        self._wire.request(method, path, data, {"Content-Type": "application/json"})
        answer = self._wire.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def asker(host: str) -> Iterator[Asker]:
    made = Asker(host)
    yield made
    made.close()


def nested(kind: str, depth: int) -> str:
    """Arrays in arrays, or objects in objects."""
    return '{"a":' * depth + "1" + "}" * depth if kind == "{" else "[" * depth + "]" * depth


def error_body(path: str, status: int, words: str, *, bare: bool) -> str:
    """How the route tells an error."""
    told = json.dumps(words, ensure_ascii=False).translate({60: "\\u003c", 62: "\\u003e", 38: "\\u0026"})
    if not path.startswith("/v1"):
        return f'{{"error":{told}}}'
    end = "\n" if bare else ""
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    if path == "/v1/messages":
        return f'{{"type":"error","error":{{"type":"{kind}","message":{told}}},"request_id":"req_…"}}{end}'
    return f'{{"error":{{"message":{told},"type":"{kind}","param":null,"code":null}}}}{end}'


# -- wrong types -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", BASES)
def test_the_wrong_type_in_every_field(asker: Asker, path: str) -> None:
    found = []
    for body, status, bare, words in said_to(path):
        kind = "application/json" if bare else "application/json; charset=utf-8"
        wanted = (status, kind, error_body(path, status, words, bare=bare))
        answer = asker.ask(path, body)
        answer = (*answer[:2], re.sub("req_[0-9a-f]{24}", "req_…", answer[2]))
        found += [] if answer == wanted else [(body, answer, wanted)]
    assert found == []


def test_every_route_with_a_body_was_tried() -> None:
    assert {row["path"] for row in RECORDED} == set(BASES)
    assert sum(len(values) for row in RECORDED for values in row["said"].values()) > 1900


# -- no JSON, and too much of it -----------------------------------------------------------------------


def test_what_is_no_json(asker: Asker) -> None:
    found = []
    for text, words in BAD_JSON:
        answer = asker.ask("/api/generate", text.encode("latin-1"))
        wanted = (400, "application/json; charset=utf-8", error_body("/api/generate", 400, words, bare=False))
        found += [] if answer == wanted else [(text, answer, wanted)]
    assert found == []


@pytest.mark.parametrize("path", BASES)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "invalid character '[' exceeded max depth"),
        ('{"model":' + nested("{", 100_000) + "}", "invalid character '{' exceeded max depth"),
        ('{"model":"x","zz":' + nested("[", 100_000) + "}", "invalid character '[' exceeded max depth"),
        ("[" * 9_000, "unexpected EOF"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
        ('{"model":-Infinity}', "invalid character 'I' in numeric literal"),
    ],
    ids=["arrays", "objects", "in a field nobody knows", "cut off", "NaN", "-Infinity"],
)  # fmt: skip
def test_depth_and_numbers_that_are_none(asker: Asker, path: str, text: str, words: str) -> None:
    status, _, body = asker.ask(path, text)
    assert (status, re.sub("req_[0-9a-f]{24}", "req_…", body)) == (
        400,
        error_body(path, 400, words, bare=False),
    )


_OF_TYPE = "json: cannot unmarshal number %s into Go struct field GenerateRequest.{} of type {}"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ('{"model":"nosuch","zz":%s}', 404, "model 'nosuch' not found"),
        ('{"model":"nosuch","top_logprobs":%s}', 400, _OF_TYPE.format("top_logprobs", "int")),
        ('{"model":"nosuch","options":{"seed":%s}}', 400, _OF_TYPE.format("options", "float64")),
        ('{"model":"nosuch","format":{"maximum":%s}}', 404, "model 'nosuch' not found"),
    ],
)
def test_a_number_of_five_thousand_digits(asker: Asker, text: str, status: int, words: str) -> None:
    number = "9" * 5000
    told = asker.ask("/api/generate", text.replace("%s", number))
    wanted = error_body("/api/generate", 400, words.replace("%s", number), bare=False)
    assert (told[0], told[2]) == (status, wanted)


@pytest.mark.parametrize("depth", [10, 400, 800])
def test_half_a_surrogate_pair_deep_inside(asker: Asker, depth: int) -> None:
    half = "[" * depth + '"\\ud800"' + "]" * depth
    body = f'{{"model":"\\udc00","options":{{"a":{half}}},"format":{half}}}'
    told = asker.ask("/api/generate", body)
    assert (told[0], told[2]) == (400, '{"error":"invalid model name"}')


# -- what reaches the engine ------------------------------------------------------------------------------

NUMBERS = ["0", "-1", "1.5", "-1e9", "3e9", "1e18", "-9223372036854775808", "1e30", "-1e308", "1e-320"]
INTEGERS = ["num_keep", "seed", "top_k", "repeat_last_n", "num_batch", "num_gpu", "main_gpu", "num_thread"]
FLOATS = ["top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
          "frequency_penalty"]  # fmt: skip
TOO_LARGE = '{"error":"failed to marshal data: json: unsupported value: -Inf"}'
NOT_POSITIVE = {"0", "-1", "-1e9", "-9223372036854775808", "1e-320"}


@pytest.mark.engine
@pytest.mark.parametrize("option", [*INTEGERS, *FLOATS])
def test_no_number_in_an_option_hurts_the_engine(farm: Any, option: str) -> None:
    asker, engine = Asker(farm.back), engine_pid(farm)
    for number in NUMBERS:
        options = f'{{"num_predict":1,"{option}":{number}}}'
        body = f'{{"model":"{MODEL}","prompt":"a","raw":true,"stream":false,"options":{options}}}'
        status, _, told = asker.ask("/api/generate", body)
        if number == "-1e308" and option in FLOATS:
            assert (status, told) == (500, TOO_LARGE)
        else:
            refused = option == "repeat_penalty" and number in NOT_POSITIVE
            assert status == (400 if refused else 200), (number, told)
    asker.close()
    assert engine_pid(farm) == engine


DEEP = nested("[", 800)
SCHEMAS = [
    '{"type":"string","pattern":"(?=x)"}', '{"type":"number","multipleOf":0}', '{"$ref":"#"}',
    '{"$defs":{"a":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}', '{"type":"integer","minimum":1e300}',
    f'{{"type":"integer","minimum":{"9" * 5000}}}', '{"maximum":1e999}', '{"properties":5}', '{"type":[]}',
    f'{{"enum":{DEEP}}}', f'{{"const":{DEEP}}}', nested("{", 800), '{"enum":[]}',
    '{"type":"string","minLength":2001}', '{"type":"array","items":{"minItems":-1}}',
]  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema[:40])
@pytest.mark.parametrize(("stream", "kind"), [("false", "application/json; charset=utf-8"),
                                              ("true", "application/json")])  # fmt: skip
def test_a_schema_is_refused_before_the_first_piece(farm: Any, schema: str, stream: str, kind: str) -> None:
    asker, engine = Asker(farm.back), engine_pid(farm)
    asked = f'"prompt":"a","stream":{stream},"format":{schema},"options":{{"num_predict":3}}'
    told = asker.ask("/api/generate", f'{{"model":"{MODEL}",{asked}}}')
    asker.close()
    assert told == (500, kind, '{"error":"invalid JSON schema in format"}')
    assert engine_pid(farm) == engine


@pytest.mark.engine
def test_nothing_was_left_in_the_log(farm: Any) -> None:
    assert "Traceback" not in farm.log.read_text()
