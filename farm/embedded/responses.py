"""Bodies of /v1/responses in, the same `Ask` as on the native routes out.

Pure. Messages, calls of functions and their results may stand in `input`; the model reads their texts.
`responses_voice` makes the answers. Called by `app`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError
from farm.embedded import fields, openai, schema
from farm.embedded.ask import Ask
from farm.embedded.fields import (
    BOOL,
    FLOAT,
    INT,
    MAP,
    RAW,
    STRING,
    Own,
    Several,
    Struct,
    WrongError,
    unmarshal,
)
from farm.embedded.structs import PARAMETERS, STRINGS
from farm.embedded.template import Turn

_RAWS = Several(RAW, "[]json.RawMessage")
_PEEK = Struct('struct { Type string "json:\\"type\\"" }', {"type": STRING})
_PEEK_ITEM = Struct(
    'struct { Type string "json:\\"type\\""; Role string "json:\\"role\\"" }',
    {"type": STRING, "role": STRING},
)
_MESSAGE = Struct("struct", {"type": STRING, "role": STRING, "content": RAW})
_CALL = Struct(
    "openai.ResponsesFunctionCall",
    dict.fromkeys(("id", "type", "call_id", "name", "arguments"), STRING),
)
_RESULT = Struct("struct", {"type": STRING, "call_id": STRING, "output": RAW})
_SUMMARY = Struct("openai.ResponsesReasoningSummary", {"type": STRING, "text": STRING})
_REASONING = Struct(
    "openai.ResponsesReasoningInput",
    {"id": STRING, "type": STRING, "summary": Several(_SUMMARY, "[]openai.ResponsesReasoningSummary"),
     "encrypted_content": STRING},
)  # fmt: skip
_CONTENTS = {
    "input_text": Struct("openai.ResponsesTextContent", {"type": STRING, "text": STRING}),
    "input_image": Struct(
        "openai.ResponsesImageContent", dict.fromkeys(("type", "detail", "file_id", "image_url"), STRING)
    ),
    "output_text": Struct("openai.ResponsesOutputTextContent", {"type": STRING, "text": STRING}),
    "input_file": Struct(
        "openai.ResponsesFileContent",
        dict.fromkeys(("type", "file_data", "file_id", "file_url", "filename"), STRING),
    ),
}


def _read_content(value: Any) -> dict[str, Any]:
    kind = (unmarshal(value, _PEEK) or {}).get("type", "")
    if kind not in _CONTENTS:
        raise WrongError(f"unknown content type: {kind}")
    return {"type": kind} | dict(unmarshal(value, _CONTENTS[kind]))


def _read_contents(value: Any, what: str) -> list[dict[str, Any]]:
    """A text, or a list of contents."""
    if isinstance(value, str) or value is None:
        return [{"type": "input_text", "text": value or ""}]
    return _each(value, what, f"{what} must be a string or array: ", _read_content)


def _each(value: Any, what: str, otherwise: str, read: Callable[[Any], Any]) -> list[Any]:
    try:
        items = unmarshal(value, _RAWS)
    except WrongError as wrong:
        raise WrongError(f"{otherwise}{wrong}") from None
    found = []
    for at, item in enumerate(items):
        try:
            found.append(read(item))
        except WrongError as wrong:
            raise WrongError(f"{what}[{at}]: {wrong}") from None
    return found


def _read_item(value: Any) -> dict[str, Any]:
    """One item of the input: its type, and for what is said its role and contents."""
    peek = unmarshal(value, _PEEK_ITEM) or {}
    kind = peek.get("type") or ("message" if peek.get("role") else "")
    if kind == "message":
        told = unmarshal(value, _MESSAGE)
        contents = _read_contents(told["content"], "content") if "content" in told else []
        return {"type": kind, "role": told.get("role", ""), "contents": contents}
    if kind == "function_call":
        return {"type": kind} | dict(unmarshal(value, _CALL))
    if kind == "function_call_output":
        told = unmarshal(value, _RESULT)
        contents = _read_contents(told["output"], "output") if "output" in told else []
        return {"type": kind, "role": "tool", "contents": contents}
    if kind == "reasoning":
        unmarshal(value, _REASONING)
        return {"type": kind}
    if not kind:
        raise WrongError("input item missing required 'type' field")
    raise WrongError(f"unknown input item type: {gojson.quoted(kind)}")


def _read_input(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str) or value is None:
        text = [{"type": "input_text", "text": value}]
        return [{"type": "message", "role": "user", "contents": text}] if value else []
    return _each(value, "input", "input must be a string or array: ", _read_item)


_FORMAT = Struct(
    "openai.ResponsesTextFormat", {"type": STRING, "name": STRING, "schema": RAW, "strict": BOOL}
)
_TOOL = Struct(
    "openai.ResponsesTool",
    {"type": STRING, "name": STRING, "description": STRING, "strict": BOOL, "parameters": MAP},
)
_REQUEST = Struct(
    "openai.ResponsesRequest",
    {
        "model": STRING,
        "background": BOOL,
        "conversation": RAW,
        "include": STRINGS,
        "input": Own(_read_input),
        "instructions": STRING,
        "max_output_tokens": INT,
        "reasoning": Struct(
            "openai.ResponsesReasoning", dict.fromkeys(("effort", "generate_summary", "summary"), STRING)
        ),
        "temperature": FLOAT,
        "text": Struct("openai.ResponsesText", {"format": _FORMAT}),
        "top_p": FLOAT,
        "truncation": STRING,
        "tools": Several(_TOOL, "[]openai.ResponsesTool"),
        "stream": BOOL,
    },
)


def read(body: bytes) -> tuple[Ask, dict[str, Any]]:
    """The body of /v1/responses; with it, what was given, for the answer's echo of it.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, _REQUEST, empty="EOF")
    turns = [turn for item in given.get("input", ()) for turn in _turns(item)]
    if given.get("instructions"):
        turns.insert(0, Turn("system", given["instructions"]))
    think = openai.read_effort(given.get("reasoning", {}).get("effort", ""), '"')
    for tool in given.get("tools", ()):
        _check_parameters((tool or {}).get("parameters"))
    wanted = given.get("text", {}).get("format", {})
    schema.check_depth(wanted.get("schema"))  # it is told back
    return Ask(
        "chat",
        given.get("model", ""),
        stream=given.get("stream", False),
        turns=tuple(turns),
        options=_options(given),
        format=wanted.get("schema") if wanted.get("type") == "json_schema" else None,
        think=think,
        tools=bool(given.get("tools")),
    ), given


def _check_parameters(given: Any) -> None:
    try:
        unmarshal(given, PARAMETERS)
    except WrongError as wrong:
        raise RefusalError(400, f"failed to unmarshal tool parameters: {wrong}", early=True) from None


def _turns(item: dict[str, Any]) -> list[Turn]:
    kind = item["type"]
    if kind == "reasoning":
        return []
    if kind == "function_call":
        _check_arguments(item.get("arguments", ""))
        return [Turn("assistant", "")]
    text, images = "", 0
    for content in item["contents"]:
        if content["type"] == "input_file":
            raise RefusalError(400, "file inputs are not currently supported", early=True)
        if content["type"] == "input_image":
            url = content.get("image_url", "")
            images += bool(url)
            if url:
                openai.check_image(url)
        text += content.get("text", "")
    return [Turn(item["role"].lower(), text, images)]


def _check_arguments(text: str) -> None:
    try:
        if text:
            gojson.decode(text.encode())
    except gojson.JsonError as error:
        said = "unexpected end of JSON input" if str(error) in {"EOF", "unexpected EOF"} else error
        why = f"failed to parse function call arguments: {said}"
        raise RefusalError(400, why, early=True) from None


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options = {"temperature": given.get("temperature", 1.0)}
    if "top_p" in given:
        options["top_p"] = given["top_p"]
    if "max_output_tokens" in given:
        options["num_predict"] = given["max_output_tokens"]
    return options
