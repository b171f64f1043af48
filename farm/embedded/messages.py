"""Bodies of /v1/messages (Anthropic's form) in, the same `Ask` as on the native routes out.

Pure. `messages_voice` makes the answers. Called by `app`.
"""

from __future__ import annotations

from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError
from farm.embedded import fields, gobytes
from farm.embedded.ask import Ask
from farm.embedded.fields import (
    ANY,
    BOOL,
    FLOAT,
    INT,
    RAW,
    STRING,
    Own,
    Several,
    Struct,
    WrongError,
    unmarshal,
)
from farm.embedded.structs import ARGUMENTS, PARAMETERS, STRINGS
from farm.embedded.template import Turn

_CITATION = Struct(
    "anthropic.Citation",
    dict.fromkeys(("type", "url", "title", "encrypted_index", "cited_text"), STRING),
)
_SOURCE = Struct("anthropic.ImageSource", dict.fromkeys(("type", "media_type", "data", "url"), STRING))
_BLOCK = Struct(
    "anthropic.ContentBlock",
    {
        "type": STRING,
        "text": STRING,
        "citations": Several(_CITATION, "[]anthropic.Citation"),
        "source": _SOURCE,
        "id": STRING,
        "name": STRING,
        "input": ARGUMENTS,
        "tool_use_id": STRING,
        "content": ANY,
        "is_error": BOOL,
        "thinking": STRING,
        "signature": STRING,
    },
)
_BLOCKS = Several(_BLOCK, "[]anthropic.ContentBlock")
_RAW_MESSAGE = Struct(
    'struct { Role string "json:\\"role\\""; Content json.RawMessage "json:\\"content\\"" }',
    {"role": STRING, "content": RAW},
)


def _read_message(value: Any) -> dict[str, Any]:
    told = unmarshal(value, _RAW_MESSAGE) or {}
    if not isinstance(value, dict) or not any(key.lower() == "content" for key in value):
        raise WrongError("unexpected end of JSON input")
    content = told.get("content")
    if isinstance(content, str) or content is None:
        return {"role": told.get("role", ""), "blocks": [{"type": "text", "text": content or ""}]}
    return {"role": told.get("role", ""), "blocks": [block or {} for block in unmarshal(content, _BLOCKS)]}


_TOOL = Struct(
    "anthropic.Tool",
    {"type": STRING, "name": STRING, "description": STRING, "input_schema": RAW, "max_uses": INT},
)
_TOOL_CHOICE = Struct(
    "anthropic.ToolChoice", {"type": STRING, "name": STRING, "disable_parallel_tool_use": BOOL}
)
_REQUEST = Struct(
    "anthropic.MessagesRequest",
    {
        "model": STRING,
        "max_tokens": INT,
        "messages": Several(Own(_read_message), "[]anthropic.MessageParam"),
        "system": ANY,
        "stream": BOOL,
        "temperature": FLOAT,
        "top_p": FLOAT,
        "top_k": INT,
        "stop_sequences": STRINGS,
        "tools": Several(_TOOL, "[]anthropic.Tool"),
        "tool_choice": _TOOL_CHOICE,
        "thinking": Struct("anthropic.ThinkingConfig", {"type": STRING, "budget_tokens": INT}),
        "metadata": Struct("anthropic.Metadata", {"user_id": STRING}),
        "output_config": Struct("anthropic.OutputConfig", {"effort": STRING}),
    },
)


def read(body: bytes) -> tuple[Ask, int]:
    """The body of /v1/messages; with it, about how many tokens it has, for a stream's first event.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, _REQUEST, empty="EOF")
    if not given.get("model"):
        raise _early("model is required")
    if given.get("max_tokens", 0) <= 0:
        raise _early("max_tokens is required and must be positive")
    if not given.get("messages"):
        raise _early("messages is required")
    system = _system_text(given.get("system"))
    turns = [Turn("system", system)] if system else []
    turns += [turn for message in given["messages"] for turn in _turns(message)]
    for tool in given.get("tools", ()):
        _check_tool(tool or {})
    made = Ask(
        "chat",
        given["model"],
        stream=given.get("stream", False),
        turns=tuple(turns),
        options=_options(given),
        tools=bool(given.get("tools")),  # a wish to think is let pass here
    )
    return made, _estimate(given)


def _early(words: str) -> RefusalError:
    return RefusalError(400, words, early=True)


def _system_text(system: Any) -> str:
    if isinstance(system, list):
        texts = (block.get("text") for block in system if _is_text(block))
        return "".join(text for text in texts if isinstance(text, str))
    return system if isinstance(system, str) else ""


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text"


def _turns(message: dict[str, Any]) -> list[Turn]:
    """One message: results of tools are said by the role "tool", before what a user says to them."""
    role, text, images, calls = message["role"].lower(), "", 0, False
    results: list[Turn] = []
    for block in message["blocks"]:
        kind = block.get("type", "")
        if kind == "text":
            text += block.get("text", "")
        elif kind == "image":
            _check_source(block.get("source"))
            images += 1
        elif kind in {"tool_use", "server_tool_use"}:
            _check_call(block) if kind == "tool_use" else None
            calls = True
        elif kind in {"tool_result", "web_search_tool_result"}:
            results.append(Turn("tool", _result_text(block.get("content"))))
    said = [Turn(role, text, images)] if text or images or calls else []
    return [*results, *said] if role == "user" else [*said, *results]


def _check_call(block: dict[str, Any]) -> None:
    for name in ("id", "name"):
        if not block.get(name):
            raise _early(f"tool_use block missing required '{name}' field")


def _check_source(source: dict[str, Any] | None) -> None:
    if source is None:
        raise _early("invalid image source")
    kind = source.get("type", "")
    if kind != "base64":
        raise _early(f"invalid image source type: {kind}. Only base64 images are supported.")
    try:
        gobytes.decode(source.get("data", ""))
    except gobytes.CorruptError as error:
        raise _early(f"invalid base64 image data: {error}") from None


def _result_text(content: Any) -> str:
    return content if isinstance(content, str) else _system_text(content)


def _check_tool(tool: dict[str, Any]) -> None:
    if "input_schema" in tool and not tool.get("type", "").startswith("web_search"):
        try:
            unmarshal(tool["input_schema"], PARAMETERS)
        except WrongError as wrong:
            name = gojson.quoted(tool.get("name", ""))
            raise _early(f"invalid input_schema for tool {name}: {wrong}") from None


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"num_predict": given["max_tokens"]}
    options |= {name: given[name] for name in ("temperature", "top_p", "top_k") if name in given}
    if given.get("stop_sequences"):
        options["stop"] = [one or "" for one in given["stop_sequences"]]
    return options


def _estimate(given: dict[str, Any]) -> int:
    """A quarter of the bytes, at least 1: what Ollama tells before the prompt is counted."""
    size = len(_system_text(given.get("system")).encode())
    for message in given["messages"]:
        size += len(message["role"].encode())
        size += sum(len(block.get("text", "").encode()) for block in message["blocks"])
    return size // 4 or 1
