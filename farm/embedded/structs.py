"""The request bodies of Ollama's own routes, as `fields` reads them.

Pure: data, and the few types that read themselves. Called by `ask`, `openai` and whatever else reads a body.
"""

from __future__ import annotations

from typing import Any

from farm.api import gojson
from farm.api.durations import parse_keep_alive
from farm.embedded import gobytes
from farm.embedded.fields import (
    ANY,
    BOOL,
    FLOAT,
    INT,
    INT32,
    MAP,
    RAW,
    STRING,
    UINT8,
    Kind,
    Mapped,
    Own,
    Several,
    Struct,
    WrongError,
    infinite,
    unmarshal,
)

STRINGS = Several(STRING, "[]string")


# -- types that read themselves -------------------------------------------------------------------


def _read_keep_alive(value: Any) -> float | None:
    if value is None:
        return None
    huge = infinite(value)
    if huge is not None:
        raise WrongError(value=f"number {huge.literal}", go=FLOAT)
    try:
        return parse_keep_alive(value)
    except ValueError as error:
        raise WrongError(str(error)) from None


def _read_think(value: Any) -> bool | str | None:
    choice = '"high", "medium", "low", "max", true, or false'
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise WrongError(f"think must be a boolean or string ({choice})")
    if value not in {"high", "medium", "low", "max"}:
        raise WrongError(f"invalid think value: {gojson.quoted(value)} (must be {choice})")
    return value


def _read_bytes(go: str) -> Own:
    numbers = Several(UINT8, "[]uint8")

    def read(value: Any) -> bytes | None:
        if value is None:
            return None
        if isinstance(value, list):
            return bytes(unmarshal(value, numbers))
        if not isinstance(value, str):
            unmarshal(value, Several(ANY, go))
        try:
            return gobytes.decode(value)
        except gobytes.CorruptError as error:
            raise WrongError(str(error)) from None

    return Own(read)


_NO_OBJECT = "Value looks like object, but can't find closing '}' symbol"


def _read_arguments(value: Any) -> dict[str, Any] | None:
    """A tool call's arguments: an object of anything."""
    if value is not None and not isinstance(value, dict):
        raise WrongError(_NO_OBJECT)
    return value


def _read_property_type(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else unmarshal(value, STRINGS)


def _read_properties(value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise WrongError(_NO_OBJECT)
    return {name: unmarshal(item, _PROPERTY) for name, item in (value or {}).items()}


ARGUMENTS = Own(_read_arguments)
_PROPERTIES = Own(_read_properties)
_INNER_PROPERTIES: dict[str, Kind] = {
    "type": Own(_read_property_type),
    "items": ANY,
    "description": STRING,
    "enum": Several(ANY, "[]interface {}"),
    "properties": _PROPERTIES,
    "required": STRINGS,
}
_PROPERTY = Struct("api.ToolProperty", _INNER_PROPERTIES)
_INNER_PROPERTIES["anyOf"] = Several(_PROPERTY, "[]api.ToolProperty")
PARAMETERS = Struct(
    "api.ToolFunctionParameters",
    {"type": STRING, "$defs": ANY, "items": ANY, "required": STRINGS, "properties": _PROPERTIES},
)
_FUNCTION = Struct("api.ToolFunction", {"name": STRING, "description": STRING, "parameters": PARAMETERS})
TOOL = Struct("api.Tool", {"type": STRING, "items": ANY, "function": _FUNCTION})

# -- messages -----------------------------------------------------------------------------------------

_CALLED = Struct("api.ToolCallFunction", {"index": INT, "name": STRING, "arguments": ARGUMENTS})
_TOOL_CALL = Struct("api.ToolCall", {"id": STRING, "function": _CALLED})
_IMAGES = Several(_read_bytes("api.ImageData"), "[]api.ImageData")
_MESSAGE = Struct(
    "api.Alias",
    {
        "role": STRING,
        "content": STRING,
        "thinking": STRING,
        "images": _IMAGES,
        "tool_calls": Several(_TOOL_CALL, "[]api.ToolCall"),
        "tool_name": STRING,
        "tool_call_id": STRING,
    },
)


def _read_message(value: Any) -> dict[str, Any]:
    return unmarshal(value, _MESSAGE) or {}


_MESSAGES = Several(Own(_read_message), "[]api.Message")

# -- requests -----------------------------------------------------------------------------------------

_GENERATION: dict[str, Kind] = {
    "model": STRING,
    "stream": BOOL,
    "format": RAW,
    "keep_alive": Own(_read_keep_alive),
    "options": MAP,
    "think": Own(_read_think),
    "truncate": BOOL,
    "shift": BOOL,
    "_debug_render_only": BOOL,
    "logprobs": BOOL,
    "top_logprobs": INT,
}
GENERATE = Struct(
    "api.GenerateRequest",
    _GENERATION
    | {
        "prompt": STRING,
        "suffix": STRING,
        "system": STRING,
        "template": STRING,
        "context": Several(INT, "[]int"),
        "raw": BOOL,
        "images": _IMAGES,
        "width": INT32,
        "height": INT32,
        "steps": INT32,
    },
)
CHAT = Struct("api.ChatRequest", _GENERATION | {"messages": _MESSAGES, "tools": Several(TOOL, "api.Tools")})
_EMBEDDING: dict[str, Kind] = {"model": STRING, "keep_alive": Own(_read_keep_alive), "options": MAP}
EMBED = Struct("api.EmbedRequest", _EMBEDDING | {"input": ANY, "truncate": BOOL, "dimensions": INT})
EMBEDDINGS = Struct("api.EmbeddingRequest", _EMBEDDING | {"prompt": STRING})
SHOW = Struct(
    "api.ShowRequest",
    {"model": STRING, "system": STRING, "template": STRING, "verbose": BOOL, "options": MAP, "name": STRING},
)
_TRANSFER: dict[str, Kind] = {
    "model": STRING,
    "insecure": BOOL,
    "username": STRING,
    "password": STRING,
    "stream": BOOL,
    "name": STRING,
}
PULL = Struct("api.PullRequest", _TRANSFER)
PUSH = Struct("api.PushRequest", _TRANSFER)
COPY = Struct("api.CopyRequest", {"source": STRING, "destination": STRING})
DELETE = Struct("api.DeleteRequest", {"model": STRING, "name": STRING})
_TEXTS = Mapped(STRING, "map[string]string")
CREATE = Struct(
    "api.CreateRequest",
    dict.fromkeys(
        ("model", "quantize", "from", "remote_host", "template", "system", "renderer", "parser", "requires",
         "name", "quantization"), STRING,
    )
    | {"stream": BOOL, "files": _TEXTS, "adapters": _TEXTS, "license": ANY, "parameters": MAP,
       "messages": _MESSAGES, "info": MAP},
)  # fmt: skip
