"""Bodies of /v1/chat/completions and /v1/completions in, the same `Ask` as on the native routes out.

Pure. As in Ollama, these routes are the native ones in other clothes; `openai_voice` makes their answers.
Called by `app`.
"""

from __future__ import annotations

from typing import Any

from farm import limits
from farm.embedded import card, fields
from farm.embedded.ask import Ask
from farm.embedded.template import Turn
from farm.embedded.words import RefusalError, unknown_model

_COMMON: dict[str, fields.Kind] = {
    "model": fields.STRING,
    "stream": fields.BOOL,
    "stream_options": {"include_usage": fields.BOOL},
    "max_tokens": fields.INT,
    "seed": fields.INT,
    "stop": fields.ANY,
    "temperature": fields.FLOAT,
    "top_p": fields.FLOAT,
    "frequency_penalty": fields.FLOAT,
    "presence_penalty": fields.FLOAT,
}
_CHAT: fields.Spec = _COMMON | {
    "messages": fields.Several({"role": fields.STRING, "content": fields.ANY}, "[]openai.Message"),
    "max_completion_tokens": fields.INT,
    "response_format": {"type": fields.STRING, "json_schema": {"schema": fields.ANY}},
    "tools": fields.Several(fields.ANY, "[]api.Tool"),
    "logprobs": fields.BOOL,
    "top_logprobs": fields.INT,
}
_COMPLETION: fields.Spec = _COMMON | {"prompt": fields.STRING, "suffix": fields.STRING}


def read_chat(body: bytes) -> tuple[Ask, bool]:
    """The body of /v1/chat/completions; with it, whether a stream tells its usage.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, "openai.ChatCompletionRequest", _CHAT, empty="EOF")
    if not given.get("messages"):
        raise RefusalError(400, "[] is too short - 'messages'", early=True)
    turns = tuple(turn for message in given["messages"] for turn in _turns(message))
    name = given.get("model", "")
    if not name:
        raise RefusalError(400, "model is required")
    card.require(name, unknown_model(name))
    top = given.get("top_logprobs", 0)
    if not 0 <= top <= limits.TOP_LOGPROBS_MAX:
        raise RefusalError(400, "top_logprobs must be between 0 and 20")
    if given.get("tools"):
        raise RefusalError(400, f"{card.NAME} does not support tools")
    ask = Ask(
        "chat",
        name,
        stream=given.get("stream", False),
        turns=turns,
        options=_options(given),
        format=_format(given.get("response_format", {})),
        top_logprobs=top if given.get("logprobs") else None,
    )
    return ask, _wants_usage(given)


def read_completion(body: bytes) -> tuple[Ask, bool]:
    """The body of /v1/completions; with it, whether a stream tells its usage.

    Raises:
        RefusalError: in Ollama's words.
    """
    given = fields.struct(body, "openai.CompletionRequest", _COMPLETION, empty="EOF")
    name = given.get("model", "")
    card.require(name, unknown_model(name))
    if given.get("suffix"):
        raise RefusalError(400, f"{card.NAME} does not support insert")
    prompt = given.get("prompt", "")
    turns = (Turn("user", prompt),) if prompt else ()
    ask = Ask("generate", name, stream=given.get("stream", False), turns=turns, options=_options(given))
    return ask, _wants_usage(given)


def _wants_usage(given: dict[str, Any]) -> bool:
    return bool(given.get("stream_options", {}).get("include_usage", False))


def _turns(message: dict[str, Any]) -> list[Turn]:
    """A message whose content is a list of parts becomes one message per part, as in Ollama."""
    role, content = message.get("role", ""), message.get("content", "")
    if isinstance(content, str):
        return [Turn(role, content)]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise RefusalError(400, f"invalid message content type: {type(content).__name__}", early=True)
    turns: list[Turn] = []
    for part in content:
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            turns.append(Turn(role, part["text"]))
        elif part.get("type") == "image_url":
            turns.append(Turn(role, "", images=1))
        else:
            raise RefusalError(400, "invalid message format", early=True)
    return turns


def _options(given: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}  # OpenAI's defaults, not Ollama's
    same = ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty")
    options |= {name: given[name] for name in same if name in given}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in given:
            options["num_predict"] = given[name]
    stop = given.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options


def _format(given: dict[str, Any]) -> Any:
    if given.get("type") == "json_object":
        return "json"
    return (
        given.get("json_schema", {}).get("schema")
        if given.get("type", "json_schema") == "json_schema"
        else None
    )
