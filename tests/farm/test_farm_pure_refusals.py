"""Wrong types and bad JSON, read without a server: what the real one says, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from refusals import BAD_JSON, said_to

from farm.api.words import RefusalError
from farm.embedded import ask, fields, messages, openai, responses, structs, vectors


def _chat(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def whole(body: bytes) -> None:
        made = read(body)
        ask.check_chat(made[0] if isinstance(made, tuple) else made)

    return whole


READERS: dict[str, Callable[[bytes], Any]] = {
    "/api/generate": ask.read_generate,
    "/api/chat": _chat(ask.read_chat),
    "/api/embed": vectors.read_embed,
    "/api/embeddings": vectors.read_embeddings,
    "/v1/chat/completions": _chat(openai.read_chat),
    "/v1/completions": openai.read_completion,
    "/v1/embeddings": vectors.read_openai,
    "/v1/responses": _chat(responses.read),
    "/v1/messages": _chat(messages.read),
}
STRUCTS = {
    "/api/show": structs.SHOW,
    "/api/pull": structs.PULL,
    "/api/copy": structs.COPY,
    "/api/delete": structs.DELETE,
    "/api/create": structs.CREATE,
    "/api/push": structs.PUSH,
}


def _refusal(read: Callable[[bytes], Any], body: str) -> tuple[int, str, bool]:
    with pytest.raises(RefusalError) as caught:
        read(body.encode())
    return caught.value.status, caught.value.text, caught.value.early


@pytest.mark.parametrize("path", READERS)
def test_what_is_said_to_a_wrong_type(path: str) -> None:
    found = []
    for body, status, bare, words in said_to(path):
        told = _refusal(READERS[path], body)
        late = bare or not path.startswith("/v1")  # under /api it makes no difference
        found += [] if told[:2] == (status, words) and (late or told[2]) else [(body, told, status, words)]
    assert found == []


@pytest.mark.parametrize("path", STRUCTS)
def test_what_is_said_to_a_wrong_type_about_models(path: str) -> None:
    found = []
    for body, status, _, words in said_to(path):
        if "cannot unmarshal" in words:
            told = _refusal(lambda data: fields.struct(data, STRUCTS[path]), body)
            found += [] if told[:2] == (status, words) else [(body, told, words)]
    assert found == []


def test_what_is_said_to_bad_json() -> None:
    found = []
    for text, words in BAD_JSON:
        with pytest.raises(RefusalError) as caught:
            fields.struct(text.encode("latin-1"), structs.GENERATE)
        found += [] if caught.value.text == words else [(text, caught.value.text, words)]
    assert found == []


@pytest.mark.parametrize("kind", ["properties", "anyOf"])
def test_tools_in_tools_in_tools(kind: str) -> None:
    opening, closing = ('{"properties":{"p":', "}}") if kind == "properties" else ('{"anyOf":[', "]}")
    nested = opening * 240 + "{}" + closing * 240
    body = f'{{"tools":[{{"function":{{"parameters":{{"properties":{{"p":{nested}}}}}}}}}]}}'
    refusal = _refusal(lambda data: fields.struct(data, structs.CHAT), body)
    assert refusal == (400, "invalid character '{' exceeded max depth", True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"tool_calls":[{"function":{"arguments":null}}]},null]}',
        b'{"messages":null,"think":null,"keep_alive":null,"tools":[{"function":{"parameters":{"properties":null}}}]}',
        b'{"tools":[{"function":{"parameters":{"properties":{"p":null,"q":{"type":["a","b"],"properties":{}}}}}}]}',
        b'{"messages":[{"images":[null,[1,2],"aGk="]}]}',
    ],
)
def test_what_is_taken_without_a_word(body: bytes) -> None:
    assert fields.struct(body, structs.CHAT)
