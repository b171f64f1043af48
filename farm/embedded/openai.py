"""Bodies of /v1/chat/completions and /v1/completions in, the same `Ask` as on the native routes out.

Pure. As in Ollama, these routes are the native ones in other clothes; `openai_voice` makes their answers.
Called by `app`.
"""

from __future__ import annotations

from typing import Any

from farm.api import gojson
from farm.api.words import RefusalError, unknown_model
from farm.embedded import card, fields, gobytes
from farm.embedded.ask import Ask, check_abilities, check_logprobs
from farm.embedded.fields import ANY, BOOL, FLOAT, FLOAT32, INT, RAW, STRING, Kind, Several, Struct
from farm.embedded.structs import TOOL
from farm.embedded.template import Turn

_STREAM_OPTIONS = Struct("openai.StreamOptions", {"include_usage": BOOL})
_CALLED = Struct(
    'struct { Name string "json:\\"name\\""; Arguments string "json:\\"arguments\\"" }',
    {"name": STRING, "arguments": STRING},
)
_TOOL_CALL = Struct("openai.ToolCall", {"id": STRING, "index": INT, "type": STRING, "function": _CALLED})
_MESSAGE = Struct(
    "openai.Message",
    {
        "role": STRING,
        "content": ANY,
        "reasoning": STRING,
        "tool_calls": Several(_TOOL_CALL, "[]openai.ToolCall"),
        "name": STRING,
        "tool_call_id": STRING,
    },
)
_SCHEMA = Struct("openai.JsonSchema", {"schema": RAW})
_COMMON: dict[str, Kind] = {
    "model": STRING,
    "stream": BOOL,
    "stream_options": _STREAM_OPTIONS,
    "max_tokens": INT,
    "seed": INT,
    "stop": ANY,
    "_debug_render_only": BOOL,
}
_CHAT = Struct(
    "openai.ChatCompletionRequest",
    _COMMON
    | {
        "messages": Several(_MESSAGE, "[]openai.Message"),
        "max_completion_tokens": RAW,
        "temperature": FLOAT,
        "frequency_penalty": FLOAT,
        "presence_penalty": FLOAT,
        "top_p": FLOAT,
        "response_format": Struct("openai.ResponseFormat", {"type": STRING, "json_schema": _SCHEMA}),
        "tools": Several(TOOL, "[]api.Tool"),
        "reasoning": Struct("openai.Reasoning", {"effort": STRING}),
        "reasoning_effort": STRING,
        "logprobs": BOOL,
        "top_logprobs": INT,
    },
)
_COMPLETION = Struct(
    "openai.CompletionRequest",
    _COMMON
    | {
        "prompt": STRING,
        "suffix": STRING,
        "temperature": FLOAT32,
        "frequency_penalty": FLOAT32,
        "presence_penalty": FLOAT32,
        "top_p": FLOAT32,
        "logprobs": INT,
    },
)
_EFFORTS = ("high", "medium", "low", "max", "none")
_IMAGE_KINDS = tuple(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp"))


def read_chat(body: bytes) -> tuple[Ask, bool]:
    """The body of /v1/chat/completions; with it, whether a stream tells its usage.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, _CHAT, empty="EOF")
    if not given.get("messages"):
        raise _early("[] is too short - 'messages'")
    effort = (
        given["reasoning"].get("effort", "") if "reasoning" in given else given.get("reasoning_effort", "")
    )
    made = Ask(
        "chat",
        given.get("model", ""),
        stream=given.get("stream", False),
        turns=tuple(turn for message in given["messages"] for turn in _turns(message or {})),
        options=_options(given),
        format=_format(given.get("response_format", {})),
        top_logprobs=given.get("top_logprobs", 0) if given.get("logprobs") else None,
        think=read_effort(effort),
        tools=bool(given.get("tools")),
    )
    check_logprobs(given.get("top_logprobs", 0))
    return made, _wants_usage(given)


def read_completion(body: bytes) -> tuple[Ask, bool]:
    """The body of /v1/completions; with it, whether a stream tells its usage.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, _COMPLETION, empty="EOF")
    name, prompt = given.get("model", ""), given.get("prompt", "")
    for item in given["stop"] if isinstance(given.get("stop"), list) else ():
        if not isinstance(item, str):
            raise _early(f"invalid type for 'stop' field: {fields.go_type(item)}")
    made = Ask(
        "generate",
        name,
        stream=given.get("stream", False),
        turns=(Turn("user", prompt),) if prompt else (),
        options=_options(given),
    )
    check_logprobs(given.get("logprobs", 0))
    card.require(name, empty=unknown_model(name))
    check_abilities(name, suffix=given.get("suffix"))
    return made, _wants_usage(given)


def read_effort(effort: str, quote: str = "'") -> bool | str | None:
    """`think` out of a reasoning effort.

    Raises:
        RefusalError: 400, it is none.
    """
    if effort and effort not in _EFFORTS:
        raise _early(
            f"invalid reasoning value: {quote}{effort}{quote} "
            '(must be "high", "medium", "low", "max", or "none")'
        )
    return False if effort == "none" else effort or None


def check_image(url: str) -> None:
    """Refuse what is no picture as base64 in a data: URL.

    Raises:
        RefusalError: 400 in Ollama's words.
    """
    if url.startswith(("http://", "https://")):
        raise _early("image URLs are not currently supported, please use base64 encoded data instead")
    start = next((kind for kind in ("data:;base64,", *_IMAGE_KINDS) if url.startswith(kind)), None)
    try:
        gobytes.decode(url.removeprefix(start) if start else "?")
    except gobytes.CorruptError:
        raise _early("invalid image input") from None


def _early(words: str) -> RefusalError:
    return RefusalError(400, words, early=True)


def _wants_usage(given: dict[str, Any]) -> bool:
    return bool(given.get("stream_options", {}).get("include_usage", False))


def _turns(message: dict[str, Any]) -> list[Turn]:
    """A message whose content is a list of parts becomes one message per part, as in Ollama."""
    role, content, calls = message.get("role", "").lower(), message.get("content"), message.get("tool_calls")
    turns = [_part(role, part) for part in content] if isinstance(content, list) else [Turn(role, "")]
    if isinstance(content, str):
        turns = [Turn(role, content)]
    elif not isinstance(content, list) and calls is None:
        raise _early(f"invalid message content type: {fields.go_type(content)}")
    for call in calls or () if turns else ():
        _check_arguments((call or {}).get("function", {}).get("arguments", ""))
    return turns


def _part(role: str, part: Any) -> Turn:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return Turn(role, part["text"])
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        if isinstance(url, str):
            check_image(url)
            return Turn(role, "", images=1)
    if kind == "input_audio":
        return _audio(role, part.get("input_audio"))
    raise _early("invalid message format")


def _audio(role: str, audio: Any) -> Turn:
    if not isinstance(audio, dict):
        raise _early("invalid input_audio format")
    if not isinstance(audio.get("data"), str):
        raise _early("invalid input_audio format: missing data")
    try:
        gobytes.decode(audio["data"])
    except gobytes.CorruptError as error:
        raise _early(f"invalid input_audio base64 data: {error}") from None
    return Turn(role, "", images=1)


def _check_arguments(text: str) -> None:
    try:
        told = gojson.decode(text.encode())
    except gojson.JsonError:
        told = text
    if not isinstance(told, dict | None):
        raise _early("invalid tool call arguments")


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}  # OpenAI's defaults, not Ollama's
    same = ("seed", "temperature", "frequency_penalty", "presence_penalty")
    options |= {name: given[name] for name in same if name in given}
    if given.get("top_p") or (given.get("top_p") == 0 and "messages" in given):  # 0 counts in chats only
        options["top_p"] = given["top_p"]
    # Newer clients send the second name only; Ollama does not know it.
    for name in ("max_tokens", "max_completion_tokens"):
        if isinstance(given.get(name), int) and not isinstance(given[name], bool):
            options["num_predict"] = given[name]
    stop = given.get("stop")
    if isinstance(stop, str | list):
        options["stop"] = [stop] if isinstance(stop, str) else [one for one in stop if isinstance(one, str)]
    return options


def _format(given: dict[str, Any]) -> Any:
    kind = given.get("type", "").strip().lower()
    if kind == "json_object":
        return "json"
    return given.get("json_schema", {}).get("schema") if kind == "json_schema" else None
