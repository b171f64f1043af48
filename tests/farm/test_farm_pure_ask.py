"""Requests in, what the engine is asked out: asks, options, formats, prompts, vectors, events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.api.gojson import Number
from farm.api.words import RefusalError
from farm.embedded import ask, card, openai, options, pieces, schema, template, vectors
from farm.embedded.gguf import GgufHeader
from farm.embedded.template import Turn

MODEL = "smollm2:135m"


def body(**given: Any) -> bytes:
    return json.dumps({"model": MODEL, **given}).encode()


def refused(reader: Any, data: bytes) -> tuple[int, str]:
    with pytest.raises(RefusalError) as caught:
        reader(data)
    return caught.value.status, caught.value.text


# -- native -------------------------------------------------------------------------------------


def test_generate_with_everything() -> None:
    made = ask.read_generate(
        body(prompt="p", system="s", context=[1, 2], images=["aGk="], stream=False, keep_alive="5m",
             logprobs=True, top_logprobs=3, think=False, truncate=False, shift=False, format="json",
             options={"seed": 1})
    )  # fmt: skip
    assert made.turns == (Turn("system", "s"), Turn("user", "p", 1))
    assert (made.context, made.stream, made.keep_alive, made.top_logprobs) == ((1, 2), False, 300.0, 3)
    assert (made.truncate, made.shift, made.format, made.options) == (False, False, "json", {"seed": 1})
    assert not made.empty


def test_generate_defaults() -> None:
    made = ask.read_generate(body(prompt="p"))
    assert (made.stream, made.truncate, made.shift, made.keep_alive, made.top_logprobs) == (
        True,
        True,
        True,
        None,
        None,
    )


@pytest.mark.parametrize("given", [{}, {"prompt": ""}, {"prompt": "", "raw": True}, {"system": "s"}])
def test_generate_without_a_prompt_only_loads(given: dict[str, Any]) -> None:
    assert ask.read_generate(body(**given)).empty


def test_generate_raw() -> None:
    made = ask.read_generate(body(prompt="One", raw=True))
    assert (made.raw, made.turns, made.empty) == ("One", (), False)


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"prompt": "x", "template": "{{ .Prompt }}"}, 400, "raw: true"),
        ({"prompt": "x", "raw": True, "system": "s"}, 400, "raw mode does not support template, system"),
        ({"prompt": "x", "think": "high"}, 400, '"smollm2:135m" does not support thinking'),
        ({"prompt": "x", "images": ["***"]}, 400, "illegal base64"),
        (
            {"prompt": "x", "images": [[256]]},
            400,
            "number 256 into Go struct field",
        ),
        ({"model": "gpt:cloud"}, 403, "ollama cloud is disabled"),
        ({"model": "gpt:7b-Cloud"}, 403, "ollama cloud is disabled"),
        ({"model": "gpt-cloud"}, 404, "model 'gpt-cloud' not found"),
        ({"model": "gpt:cloud:local"}, 400, 'use either :local or :cloud, not both: "gpt:cloud:local"'),
        ({"model": "a b"}, 400, "invalid model name"),
        ({"model": " "}, 404, "model ' ' not found"),
    ],
)
def test_generate_refusals(given: dict[str, Any], status: int, words: str) -> None:
    code, text = refused(ask.read_generate, body(**given))
    assert code == status
    assert words in text


@pytest.mark.parametrize(
    "name",
    ["smollm2", "SmolLM2:135M", "smollm2:latest", "smollm2:135m:local", "library/smollm2:135m",
     "https://registry.ollama.ai/library/smollm2:135m"],
)  # fmt: skip
def test_names_of_the_model(name: str) -> None:
    made = ask.read_chat(body(model=name, messages=[{"role": "user", "content": "x"}]))
    ask.check_chat(made)
    assert made.model == name


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"think": True, "tools": [{}]}, '"smollm2:135m" does not support thinking'),
        ({"tools": [{}]}, "registry.ollama.ai/library/smollm2:135m does not support tools"),
        ({"model": ""}, "model is required"),
        ({"model": "nosuch"}, "model 'nosuch' not found"),
    ],
)
def test_what_a_chat_is_checked_for(given: dict[str, Any], words: str) -> None:
    made = ask.read_chat(body(**given))
    with pytest.raises(RefusalError) as caught:
        ask.check_chat(made)
    assert caught.value.text == words


def test_an_unload_is_not_checked_for_abilities() -> None:
    made = ask.read_chat(body(keep_alive=0, think=True, tools=[{}]))
    ask.check_chat(made)
    assert made.unloads
    assert ask.read_generate(body(keep_alive="0s", raw=True, system="s", think=True)).unloads


def test_a_message_without_content_is_empty_text() -> None:
    assert ask.read_chat(body(messages=[{"role": "user"}, {}])).turns == (Turn("user", ""), Turn("", ""))


def test_the_card() -> None:
    assert card.tags("then")["models"][0]["size"] == 98_362_432
    header = GgufHeader({"tokenizer.ggml.tokens": ["a"]}, ({"name": "t", "type": "F32", "shape": [1]},))
    shown = card.show("then", 2048, header)
    assert (
        shown["parameters"]
        == 'num_ctx                        2048\nstop                           "<|im_end|>"'
    )
    assert list(shown) == [
        "modelfile", "parameters", "template", "details", "model_info", "tensors", "capabilities",
        "modified_at",
    ]  # fmt: skip
    assert shown["model_info"]["tokenizer.ggml.tokens"] is None
    verbose = card.show("then", 2048, header, verbose=True)
    assert verbose["model_info"]["tokenizer.ggml.tokens"] == ["a"]
    entry = card.loaded("m", size_b=1, expires_at="then", slot_tokens=64)
    assert (entry["size"], entry["size_vram"], entry["context_length"]) == (1, 0, 64)
    assert card.openai_model(5)["created"] == 5


def test_names() -> None:
    assert all(card.is_name(name) for name in ("a", "a:b", "host/ns/model:tag", "h:1/n/m", "hf.co/u/m"))
    assert not any(card.is_name(name) for name in ("", "a b", "a/b/c/d", ":x", "a:", "/a"))


# -- /v1 ------------------------------------------------------------------------------------------


PICTURE = "data:image/png;base64,aGk="


def test_openai_chat() -> None:
    made, usage = openai.read_chat(
        body(
            messages=[{"role": "user", "content": [{"type": "text", "text": "a"},
                                                  {"type": "image_url", "image_url": {"url": PICTURE}},
                                                  {"type": "input_audio", "input_audio": {"data": "aGk="}}]}],
            max_tokens=5, max_completion_tokens=6, stop="x", seed=1, top_p=0.5, stream=True, logprobs=True,
            stream_options={"include_usage": True}, response_format={"type": "json_object"},
        )
    )  # fmt: skip
    assert made.turns == (Turn("user", "a"), Turn("user", "", 1), Turn("user", "", 1))
    assert made.options == {"temperature": 1.0, "top_p": 0.5, "num_predict": 6, "stop": ["x"], "seed": 1}
    assert (made.format, made.top_logprobs, made.stream, usage) == ("json", 0, True, True)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}, {"type": "object"}),
        ({"type": "text"}, None),
        ({}, None),
    ],
)
def test_openai_formats(given: dict[str, Any], wanted: Any) -> None:
    made, usage = openai.read_chat(
        body(messages=[{"role": "user", "content": "x"}], response_format=given, stop=["a"])
    )
    assert (made.format, usage, made.options["stop"]) == (wanted, False, ["a"])


BAD_CALL = {"function": {"arguments": "["}}


def _picture(url: Any) -> dict[str, Any]:
    return _said([{"type": "image_url", "image_url": url}])


def _sound(**told: Any) -> dict[str, Any]:
    return _said([{"type": "input_audio"} | told])


def _said(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"messages": [_said(5)]}, "invalid message content type: float64"),
        ({"messages": [_said(None)]}, "invalid message content type: <nil>"),
        ({"messages": [_said([5])]}, "invalid message format"),
        ({"messages": [_said([{"type": "text"}])]}, "invalid message format"),
        ({"messages": [_picture(5)]}, "invalid message format"),
        (
            {"messages": [_picture("http://x/y")]},
            "image URLs are not currently",
        ),
        (
            {"messages": [_picture("data:image/gif;base64,aGk=")]},
            "invalid image",
        ),
        ({"messages": [_sound()]}, "invalid input_audio format"),
        ({"messages": [_sound(input_audio={})]}, "missing data"),
        (
            {"messages": [_sound(input_audio={"data": "%"})]},
            "illegal base64 data",
        ),
        (
            {"messages": [_said("x") | {"tool_calls": [{"function": {"arguments": "["}}]}]},
            "invalid tool call",
        ),
        ({"messages": [_said("x")], "top_logprobs": 99}, "top_logprobs must be"),
        ({"messages": [_said("x")], "reasoning_effort": "much"}, "invalid reasoning value: 'much'"),
        ({"messages": []}, "[] is too short - 'messages'"),
    ],
)
def test_openai_refusals(given: dict[str, Any], words: str) -> None:
    status, text = refused(openai.read_chat, body(**given))
    assert status == 400
    assert words in text


@pytest.mark.parametrize(
    ("given", "think"),
    [({}, None), ({"reasoning_effort": "none"}, False), ({"reasoning": {"effort": "low"}}, "low"),
     ({"reasoning": {}, "reasoning_effort": "high"}, None)],
)  # fmt: skip
def test_openai_efforts(given: dict[str, Any], think: Any) -> None:
    made, _ = openai.read_chat(body(messages=[_said("x")], **given))
    assert made.think == think


def test_openai_calls_of_tools_are_history() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}
    made, _ = openai.read_chat(body(messages=[{"role": "ASSISTANT", "tool_calls": [call]}, _said([])]))
    assert made.turns == (Turn("assistant", ""),)


@pytest.mark.parametrize(("given", "top_p"), [({}, 1.0), ({"top_p": 0}, 1.0), ({"top_p": 0.5}, 0.5)])
def test_openai_completion_top_p(given: dict[str, Any], top_p: float) -> None:
    assert openai.read_completion(body(prompt="x", **given))[0].options["top_p"] == top_p


def test_openai_chat_takes_a_top_p_of_0() -> None:
    assert openai.read_chat(body(messages=[_said("x")], top_p=0))[0].options["top_p"] == 0


def test_openai_completion_suffix() -> None:
    assert refused(openai.read_completion, body(prompt="a", suffix="b")) == (
        400,
        f"registry.ollama.ai/library/{MODEL} does not support insert",
    )


def test_openai_completion() -> None:
    made, usage = openai.read_completion(
        body(prompt="a", stream=True, stream_options={"include_usage": True})
    )
    assert (made.route, made.turns, made.stream, usage) == ("generate", (Turn("user", "a"),), True, True)
    assert openai.read_completion(body())[0].empty


# -- options ----------------------------------------------------------------------------------------


def test_option_defaults_are_ollamas() -> None:
    made = options.parse({"nosuch": 1, "temperature": None})
    assert made.sampling == {
        "n_keep": 4, "seed": -1, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0, "stop": [],
        "temperature": 0.8, "repeat_penalty": 1.1, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "repeat_last_n": 64,
    }  # fmt: skip
    assert (made.predict, made.context, made.keep) == (-1, None, 4)


def test_options_are_taken() -> None:
    made = options.parse(
        {"seed": 7.0, "stop": ["a", ""], "num_ctx": 64, "num_keep": -1, "num_predict": 9, "use_mmap": True}
    )
    assert (made.sampling["seed"], made.sampling["stop"], made.sampling["n_keep"]) == (7, ["a"], -1)
    assert (made.context, made.keep, made.predict) == (64, 0, 9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seed": "x"}, 'option "seed" must be of type integer'),
        ({"top_k": True}, 'option "top_k" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_option_types(given: dict[str, Any], words: str) -> None:
    assert refused(options.parse, given) == (500, words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "name", "sent"),
    [({"repeat_last_n": -1}, "repeat_last_n", 8192), ({"repeat_last_n": 3e9}, "repeat_last_n", 8192),
     ({"num_keep": -1e18}, "n_keep", -1), ({"seed": 1e300}, "seed", 2**31 - 1),
     ({"top_k": -1e300}, "top_k", 1 - 2**31)],
)  # fmt: skip
def test_integers_are_taken_for_the_nearest_the_engine_takes(
    given: dict[str, Any], name: str, sent: int
) -> None:
    assert options.parse(given).sampling[name] == sent


@pytest.mark.parametrize(("value", "sign"), [(1e308, "+"), (-1e308, "-")])
def test_a_float_too_large_for_32_bits(value: float, sign: str) -> None:
    with pytest.raises(RefusalError, match="failed to marshal data") as caught:
        options.parse({"temperature": value}).check_finite()
    assert (caught.value.status, caught.value.text[-4:]) == (500, f"{sign}Inf")
    options.parse({"temperature": 1e38, "seed": 1e308}).check_finite()


@pytest.mark.parametrize(("context", "window"), [(None, 2048), (64, 64), (9999, 2048), (1, 4)])
def test_window(context: int | None, window: int) -> None:
    assert options.parse({"num_ctx": context}).window(2048) == window


@pytest.mark.parametrize(
    ("predict", "shift", "most"),
    [(-1, True, 320), (0, True, 320), (9, True, 9), (999, True, 320), (200, False, 21), (3, False, 3)],
)
def test_predict_at_most(predict: int, shift: bool, most: int) -> None:
    assert options.parse({"num_predict": predict}).predict_at_most(32, 12, shift=shift) == most


# -- format -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, ""])
def test_no_format(given: Any) -> None:
    assert schema.parse_format(given) is None


def test_any_object() -> None:
    assert schema.parse_format("json") == {"type": "object"}


def test_objects_are_closed_at_every_depth_but_not_inside_literals() -> None:
    inner = {"type": "object", "properties": {"type": {"type": ["string", "null"]}}}
    given = {
        "type": "object",
        "properties": {"a": inner, "list": {"type": "array", "items": inner}},
        "anyOf": [inner],
        "additionalProperties": True,
        "enum": [{"properties": {}}],
    }
    closed = inner | {"additionalProperties": False}
    assert schema.parse_format(given) == {
        "type": "object",
        "properties": {"a": closed, "list": {"type": "array", "items": closed}},
        "anyOf": [closed],
        "additionalProperties": True,
        "enum": [{"properties": {}}],
    }


def _nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        made = {"type": "array", "items": made}
    return made


@pytest.mark.parametrize(
    "given",
    [
        {"type": "nosuchtype"},
        {"type": 5},
        {"type": "string", "minLength": 2001},
        {"type": "string", "maxLength": "x"},
        {"type": "array", "minItems": True},
        {"type": "array", "maxItems": -1},
        _nested(100),
        {"anyOf": [{"type": "string"}] * 3000},
        {"enum": _nested(100)},
        {"maximum": Number("1e999")},
    ],
)
def test_schemas_that_are_refused(given: dict[str, Any]) -> None:
    assert refused(schema.parse_format, given) == (500, "invalid JSON schema in format")  # type: ignore[arg-type]


def test_hints_for_the_engine() -> None:
    assert schema.for_engine({"type": "object", "x-guidance": 1})["x-guidance"]["coerce_one_of"] is True


def test_a_large_but_sane_schema_passes() -> None:
    given = {"type": "string", "minLength": 2000}
    assert schema.parse_format(given) == given
    assert schema.parse_format(_nested(10)) == _nested(10)


@pytest.mark.parametrize(
    ("given", "shown"), [("xml", '"\\"xml\\""'), (5, '"5"'), ([1], '"[1]"'), (Number("1e999"), '"1e999"')]
)
def test_what_is_no_format(given: Any, shown: str) -> None:
    words = f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
    assert refused(schema.parse_format, given) == (500, words)


# -- prompts ------------------------------------------------------------------------------------------


def test_render() -> None:
    turns = [Turn("system", "S"), Turn("user", "a", 2), Turn("user", "b", 1)]
    assert template.render(turns) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n[img-0][img-1]a<|im_end|>\n"
        "<|im_start|>user\n[img-2]b<|im_end|>\n<|im_start|>assistant\n"
    )


def test_shorter_keeps_system_and_the_last() -> None:
    turns = [Turn("system", "s"), Turn("user", "1"), Turn("assistant", "2"), Turn("user", "3")]
    told = ["".join(turn.content for turn in history) for history in template.shorter(turns)]
    assert told == ["s123", "s123", "s23", "s3"]


@pytest.mark.parametrize(
    ("window", "keep", "wanted"),
    [(10, 4, list(range(10))), (6, 2, [0, 1, 6, 7, 8, 9]), (3, 9, [0, 1, 9]), (4, 0, [6, 7, 8, 9])],
)
def test_cut(window: int, keep: int, wanted: list[int]) -> None:
    assert template.cut(list(range(10)), window, keep) == wanted


# -- the engine's events --------------------------------------------------------------------------------


def event(**told: Any) -> bytes:
    return b"data: " + json.dumps(told).encode()


def test_a_piece() -> None:
    assert pieces.read_event(event(content="I", tokens=[57], stop=False), None) == pieces.Piece("I", (57,))


def test_a_piece_with_logprobs() -> None:
    one = {"id": 1, "token": "I", "bytes": [73], "logprob": -0.5}
    line = event(
        content="I", tokens=[57], stop=False, completion_probabilities=[one | {"top_logprobs": [one, one]}]
    )
    plain = {"token": "I", "logprob": -0.5, "bytes": [73]}
    assert pieces.read_event(line, 0) == pieces.Piece("I", (57,), (plain,))
    assert pieces.read_event(line, 1) == pieces.Piece("I", (57,), (plain | {"top_logprobs": [plain]},))


@pytest.mark.parametrize(("stop_type", "reason"), [("limit", "length"), ("eos", "stop"), ("word", "stop")])
def test_counts(stop_type: str, reason: str) -> None:
    line = event(stop=True, stop_type=stop_type, tokens_evaluated=11, tokens_predicted=6,
                 timings={"prompt_ms": 68.494, "predicted_ms": 57.445})  # fmt: skip
    assert pieces.read_event(line, None) == pieces.Counts(reason, 11, 68_494_000, 6, 57_445_000)


@pytest.mark.parametrize("line", [b"", b": ping", b"id: 1"])
def test_lines_without_an_event(line: bytes) -> None:
    assert pieces.read_event(line, None) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'error: {"code":500,"message":"boom"}', "boom"),
        (b'data: {"error":{"message":"boom"}}', "boom"),
        (b'data: {"error":"boom"}', "boom"),
        (b"data: {}", "KeyError"),
        (b"data: x", "JSONDecodeError"),
        (b"data: [1]", "TypeError"),
    ],
)
def test_events_that_are_errors(line: bytes, words: str) -> None:
    with pytest.raises(pieces.EngineError, match=words):
        pieces.read_event(line, None)


# -- vectors ----------------------------------------------------------------------------------------------


def test_embed_asks() -> None:
    assert vectors.read_embed(body(input="a", dimensions=-1)).texts == ("a",)
    assert vectors.read_embed(body()).texts == ()
    assert vectors.read_embed(body(input="")).texts == ()
    made = vectors.read_embed(body(input=["a", "b"], truncate=False, keep_alive=3, options={"num_ctx": 9}))
    assert (made.texts, made.truncate, made.keep_alive, made.options) == (
        ("a", "b"),
        False,
        3.0,
        {"num_ctx": 9},
    )
    assert vectors.read_embeddings(body(prompt="a")).texts == ("a",)
    assert vectors.read_embeddings(body(prompt="a")).truncate is False
    assert vectors.read_openai(body(input="a", encoding_format="base64")).base64
    assert refused(vectors.read_embed, body(input=["a", 1]))[1] == "invalid input type"
    assert refused(vectors.read_openai, body(input=[]))[1] == "invalid input"
    assert refused(vectors.read_openai, body(input=[5]))[1] == "invalid input type"
    assert vectors.read_openai(body(input="")).texts == ("",)
    assert refused(vectors.read_openai, body(input="a", encoding_format="hex"))[1].startswith(
        "Invalid value for"
    )
    assert refused(vectors.read_embed, body(model="", input=5))[1] == "model '' not found"
    assert refused(vectors.read_embeddings, body(model="")) == (400, "model is required")
    assert refused(vectors.read_embeddings, body(model="nosuch"))[0] == 404


@pytest.mark.parametrize(
    ("tokens", "window", "wanted"),
    [
        ([5, 6, 7], 3, [5, 6, 7]),
        ([5, 6, 7, 8], 3, [5]),
        ([1, 6, 7, 2], 3, [1, 6, 7]),
        ([1, 6, 7, 8], 3, [1, 6]),
    ],
)
def test_texts_are_cut_to_fit(tokens: list[int], window: int, wanted: list[int]) -> None:
    assert vectors.cut_to_fit(tokens, window) == wanted


def test_normalised() -> None:
    assert vectors.normalised([3.0, 4.0, 9.0], 2) == pytest.approx([0.6, 0.8])
    assert vectors.normalised([0.0, 0.0]) == [0.0, 0.0]
    assert sum(number**2 for number in vectors.normalised([1.0] * 576)) == pytest.approx(1)


def test_embed_bodies() -> None:
    made = vectors.embed_body(MODEL, [[0.5, -0.25]], total_ns=9, load_ns=0, tokens=1)
    assert (
        made
        == b'{"model":"smollm2:135m","embeddings":[[0.5,-0.25]],"total_duration":9,"prompt_eval_count":1}'
    )
    assert (
        vectors.embed_body(MODEL, [], total_ns=9, load_ns=9, tokens=0)
        == b'{"model":"smollm2:135m","embeddings":[]}'
    )
    assert vectors.embeddings_body([0.5]) == b'{"embedding":[0.5]}'


def test_openai_embedding_bodies_are_the_recorded_ones() -> None:
    numbers = [-0.36409223, -0.533276, 0.031700864, 0.7629211]
    plain = vectors.EmbedAsk(MODEL, ("hello",))
    assert vectors.openai_body(plain, [numbers], 1) == (
        b'{"object":"list","data":[{"object":"embedding","embedding":[-0.36409223,-0.533276,0.031700864,0.7629211],'
        b'"index":0}],"model":"smollm2:135m","usage":{"prompt_tokens":1,"total_tokens":1}}\n'
    )
    packed = vectors.openai_body(vectors.EmbedAsk(MODEL, ("hello",), base64=True), [numbers], 1)
    assert b'"embedding":"TGq6vseECL/E2AE9zE5DPw=="' in packed
