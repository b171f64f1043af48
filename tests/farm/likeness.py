"""In what an answer differs from a recorded one.

Texts, times, ids and counts of generated tokens vary from run to run: of these the form is compared.
Everything else is compared as it is: status, header names and values, framing and chunk boundaries, field
names and their order, types, fixed values, words of errors.
"""

from __future__ import annotations

import json
import re
from typing import Any

from rawhttp import Answer
from recorded import ENTRIES, expanded

VERSION = "0.24.0"
REGISTRY = "registry.ollama.ai"
WHOLE_MAX_B = 2048
"""Bodies up to this size have a length, longer ones are chunked."""

# -- what was answered ------------------------------------------------------------------------------

_ONE_TOKEN = (
    '{"model":"smollm2:135m","created_at":"2026-11-21T07:22:20.072196416Z","response":"I","done":true,'
    '"done_reason":"length","context":[1],"total_duration":1,"load_duration":1,"prompt_eval_count":11,'
    '"prompt_eval_duration":1,"eval_count":1}'
)
_ONE_RAW_TOKEN = _ONE_TOKEN.replace('"context":[1],', "").replace(":11,", ":3,")
_MORE_NUMBERS = re.compile(r",<(\d+) more numbers>")
_MORE = re.compile(r",<(\d+) more>")


def _told(name: str, text: str) -> str:
    """A recorded body with what was cut out of it put back in kind."""
    if text.startswith("<as "):
        return _told(text[4:-1], ENTRIES[text[4:-1]]["response"]["body"])
    if text == "<ordinary answer of 1 token>":
        return _ONE_RAW_TOKEN if '"raw":true' in ENTRIES[name]["request"]["body"] else _ONE_TOKEN
    text = text.replace('"version":"0.0.0"', f'"version":"{VERSION}"').replace("<registry>", REGISTRY)
    return _MORE.sub(r',{"more":\1}', _MORE_NUMBERS.sub(lambda found: ",0" * int(found[1]), text))


# -- comparing values ---------------------------------------------------------------------------------

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?"
_KINDS: dict[str, str] = {
    "created_at": _STAMP + "Z|[0-9]{10}",
    "modified_at": _STAMP + r"(Z|[+-]\d\d:\d\d)",
    "expires_at": _STAMP + r"(Z|[+-]\d\d:\d\d)",
    "completed_at": "[0-9]{10}",
    "created": "[0-9]{10}",
    "digest": "[0-9a-f]{64}",
    "id": r"smollm2:135m|(chatcmpl|cmpl)-\d{1,3}|(resp|msg)_\d{1,6}|msg_[0-9a-f]{24}",
    "item_id": r"msg_\d{1,6}",
    "request_id": "req_[0-9a-f]{24}",
    "done_reason": "stop|length",
    "finish_reason": "stop|length",
    "stop_reason": "end_turn|max_tokens",
} | dict.fromkeys(
    ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "size", "eval_count",
     "completion_tokens", "output_tokens", "total_tokens", "sequence_number", "context_length"), "[0-9]+",
)  # fmt: skip
"""Field → the form its values have; numbers are not zero where the recorded one is not."""
_TEXTS = frozenset({"response", "content", "text", "delta", "token", "embedding", "modelfile", "template",
                    "parameters", "parent_model"})  # fmt: skip
_LISTED = frozenset({"models", "data"})
"""Lists of things of one shape, as many as there are."""
_FREE = frozenset({"context", "bytes"})
"""Lists of numbers whose length follows the text."""


def _fixed(theirs: Any, ours: Any, where: str) -> list[str]:
    same = type(theirs) is type(ours) and theirs == ours
    return [] if same else [f"{where}: {ours!r} instead of {theirs!r}"]


def _kind(key: str, theirs: Any, ours: Any, where: str) -> list[str]:
    if type(theirs) is not type(ours) or theirs in {"load", "unload"}:
        return _fixed(theirs, ours, where)
    if re.fullmatch(_KINDS[key], str(ours)) is None or (theirs and not ours):
        return [f"{where}: {ours!r} has not the form of {theirs!r}"]
    return []


def _like(theirs: Any, ours: Any) -> bool:
    """The same fields and types."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and list(theirs) == list(ours) and all(
            _like(theirs[name], ours[name]) for name in theirs)  # fmt: skip
    return type(theirs) is type(ours)


def _list(key: str, theirs: list[Any], ours: Any, where: str) -> list[str]:
    if not isinstance(ours, list):
        return [f"{where}: no list"]
    if theirs and isinstance(theirs[-1], dict) and "more" in theirs[-1]:
        shown, more = theirs[:-1], theirs[-1]["more"]
        alike = all(_like(shown[0], one) for one in ours)
        return _fixed(shown, ours[: len(shown)], where) + _fixed(
            [len(shown) + more, True], [len(ours), alike], where
        )
    if key in _LISTED and theirs and ours:
        theirs = [theirs[0]] * len(ours)
    if key in _FREE and theirs and ours:
        return [] if all(isinstance(one, int) for one in ours) else [f"{where}: not only numbers"]
    if len(theirs) != len(ours):
        return [f"{where}: {len(ours)} instead of {len(theirs)}"]
    return [text for at, (a, b) in enumerate(zip(theirs, ours, strict=True))
            for text in differ(a, b, f"{where}[{at}]", key)]  # fmt: skip


def differ(theirs: Any, ours: Any, where: str = "", key: str = "") -> list[str]:
    """In what one JSON value differs from a recorded one, in sentences."""
    if isinstance(theirs, dict):
        return _object(theirs, ours, where)
    if isinstance(theirs, list):
        return _list(key, theirs, ours, where)
    if key in _KINDS and theirs is not None:
        return _kind(key, theirs, ours, where)
    number = key in {"embedding", "embeddings", "logprob"}
    if number and isinstance(theirs, int | float) and isinstance(ours, int | float):
        return []
    if key in _TEXTS and isinstance(theirs, str) and theirs:
        return [] if isinstance(ours, str) else [f"{where}: {ours!r} is no text"]
    return _fixed(theirs, ours, where)


def _object(theirs: dict[str, Any], ours: Any, where: str) -> list[str]:
    if not isinstance(ours, dict):
        return [f"{where}: no object"]
    # The time of a single token is zero, and zeros are not told; how many there are depends on the text.
    names, told = ([name for name in one if name != "eval_duration"] for one in (theirs, ours))
    if names != told:
        return [f"{where}: fields {told} instead of {names}"]
    found = _fixed(ours.get("eval_count", 0) > 1, "eval_duration" in ours, f"{where}.eval_duration")
    return found + [
        text for name in names for text in differ(theirs[name], ours[name], f"{where}.{name}", name)
    ]


# -- comparing bodies ---------------------------------------------------------------------------------

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_PORT = re.compile(r"127\.0\.0\.1:\d+/embedding")


def _form(raw: bytes) -> list[str]:
    """How Go writes JSON: compact, with <, > and & escaped."""
    bare = _STRING.sub(b'""', raw.replace(b"data: ", b"").replace(b"event: ", b""))
    return [f"not written as Go does: {raw[:80]!r}"] if b" " in bare or re.search(b"[<>&]", raw) else []


def events(text: str) -> list[Any]:
    """What one chunk or body says: JSON values, events by name and value, or the text itself."""
    if text.startswith(("data: ", "event: ")):
        assert text.endswith("\n\n"), text
        return [_event(event) for event in text[:-2].split("\n\n")]
    try:
        return [*map(json.loads, text.splitlines()), text.endswith("\n")]
    except ValueError:
        return [text]


def _event(text: str) -> Any:
    name, _, data = text.rpartition("data: ")
    return [name, data if data == "[DONE]" else json.loads(data)]


def _body(theirs: str, ours: bytes, where: str) -> list[str]:
    told = _PORT.sub("127.0.0.1:<port>/embedding", ours.decode())
    wanted = events(theirs)
    if wanted == [theirs] or told == theirs:
        return _fixed(theirs, told, where)
    try:
        return differ(wanted, events(told), where) + _form(ours)
    except (ValueError, AssertionError):
        return [f"{where}: {told[:200]!r} instead of {theirs[:200]!r}"]


def _recorded_chunks(entry: dict[str, Any]) -> list[str]:
    told = [str(chunk["text"]) for chunk in entry["response"]["chunks"]]
    if told and told[0] == "<4 chunks as in v1_responses_stream>":
        like = _recorded_chunks(ENTRIES["v1_responses_stream"])[:4]
        told[:1] = [text.replace('"max_output_tokens":2,', '"max_output_tokens":200,') for text in like]
    found = re.search(r'"response":(\{.*\}),"sequence_number":0', told[0], re.DOTALL) if told else None
    return [text.replace("<same response object>", found[1] if found else "") for text in told]


def _stream(entry: dict[str, Any], ours: list[bytes]) -> list[str]:
    """Chunk by chunk; where the recording says "so many of the same kind" any number of these may stand."""
    told = _recorded_chunks(entry)
    gaps = [at for at, text in enumerate(told) if text.startswith("<")]
    if not gaps:
        if len(told) != len(ours):
            return [f"{len(ours)} chunks instead of {len(told)}"]
        pairs = list(zip(told, ours, strict=True))
    else:
        front, behind = told[: gaps[0]], told[gaps[-1] + 1 :]
        if len(ours) < len(front) + len(behind):
            return [f"only {len(ours)} chunks"]
        like = front[-1] if front else behind[0]
        cut = len(ours) - len(behind)
        pairs = list(zip(front, ours, strict=False)) + [(like, one) for one in ours[len(front) : cut]]
        pairs += list(zip(behind, ours[cut:], strict=True))
    return [text for at, (a, b) in enumerate(pairs) for text in _body(a, b, f"chunk {at}")]


# -- comparing answers ----------------------------------------------------------------------------------


def _wanted_headers(entry: dict[str, Any]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for name, value in entry["response"]["headers"].items():
        told = value
        if isinstance(told, str) and told.startswith("<as "):
            told = ENTRIES[told[4:-1]]["response"]["headers"][name]
        wanted[name] = sorted(expanded(one) for one in (told if isinstance(told, list) else [told]))
    return wanted


def _headers(entry: dict[str, Any], answer: Answer) -> list[str]:
    wanted = _wanted_headers(entry)
    told: dict[str, list[str]] = {}
    for name, value in answer.headers:
        if name != "date":
            told[name] = sorted([*told.get(name, []), value])
    same_body = answer.body.decode("utf-8", "replace") == entry["response"].get("body")
    if entry["request"]["method"] == "HEAD":
        # The length of a body that is not told, and may tell of another model.
        if wanted.keys() & told.keys() >= {"content-length"}:
            wanted["content-length"] = told["content-length"]
    elif not (same_body or "chunks" in entry["response"] or "ended_by" in entry["response"]):
        wanted = _framed(wanted, len(answer.body))
    return [] if wanted == told else [f"headers {told} instead of {wanted}"]


def _framed(wanted: dict[str, list[str]], size: int) -> dict[str, list[str]]:
    """A body of another size: up to a limit it has a length, above it comes as a chunk."""
    if wanted.get("transfer-encoding") == ["chunked"] and size <= WHOLE_MAX_B:
        return wanted  # an error in the place of a stream is chunked at any size
    rest = {
        name: value for name, value in wanted.items() if name not in {"content-length", "transfer-encoding"}
    }
    framing = {"content-length": [str(size)]} if size <= WHOLE_MAX_B else {"transfer-encoding": ["chunked"]}
    return rest | framing


def differences(name: str, answer: Answer) -> list[str]:
    """In what an answer differs from the recorded one, in sentences; empty when they are the same."""
    entry = ENTRIES[name]
    wanted = entry["response"]
    found = _fixed(wanted["status"], answer.status, "status")
    found += _fixed("HTTP/1.0" if name.startswith("http10") else "HTTP/1.1", answer.version, "version")
    found += _headers(entry, answer)
    interim = [part["status_line"] for part in wanted.get("interim", [])]
    found += _fixed(interim, [f"HTTP/1.1 {code} Continue" for code in answer.interim], "interim")
    if "chunks" in wanted:
        cut = wanted.get("end", "").endswith("eof")
        found += _fixed("eof" if cut else "last chunk", answer.end, "end")
        return found + _stream(entry, answer.chunks or [])
    if answer.chunks is not None and len(answer.chunks) != 1:
        found.append(f"{len(answer.chunks)} chunks instead of one")
    told = wanted["body"]
    return found + (_body(_told(name, told), answer.body, "body") if told or answer.body else [])
