"""One request for a model, read and made safe before it goes to a backend.

Requests from different programs must not work against each other: what would make Ollama load the model
anew for each of them is taken out, `keep_alive`, which outlasts the request, is always said, and a schema
that crashes the runner for everybody is refused. What is sent on is written anew from what was
read, so that the backend cannot read it differently. Pure; called by the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from farm import grammar
from farm.api import gojson
from farm.api.durations import parse_keep_alive
from farm.api.words import RefusalError
from farm.routes import Route, Work

_OURS: Final = frozenset({
    "model", "name", "stream", "keep_alive", "options", "format", "prompt", "messages", "suffix", "images",
    "response_format", "text",
})  # fmt: skip
RELOADING: Final = frozenset({"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread"})
"""Options that belong to the runner: another value, or none after one was given, loads the model anew."""
_KELVIN_AND_LONG_S = str.maketrans({"\u212a": "k", "\u017f": "s"})
_PLACES: Final = ("registry.ollama.ai/", "library/")
_CLOUD: Final = ("-cloud", ":cloud")


@dataclass(frozen=True, slots=True)
class House:
    """What holds for every request.

    Attributes:
        keep_alive: said for requests that do not say it: Go duration or seconds.
        gpu_layers: `num_gpu` of every load; below 0: Ollama decides.
    """

    keep_alive: str | float
    gpu_layers: int = -1


@dataclass(frozen=True, slots=True)
class Demand:
    """A request that needs a runner.

    Attributes:
        model: canonical name; empty when no runner will be found for it, so that the backend says why.
        asked: the name as the request has it.
        body: what goes to the backend.
        streams: whether the answer is a stream.
        idle: nothing is to be generated: the model is only loaded or unloaded, which takes no slot.
        keep_alive: what this request leaves in force, or None for a route that cannot say it.
        dropped: names of options that were taken out.
    """

    model: str
    asked: str
    body: bytes
    streams: bool
    idle: bool = False
    keep_alive: Any = None
    dropped: tuple[str, ...] = ()

    @property
    def frees(self) -> bool:
        """Whether the model is to leave the memory when this request has ended."""
        try:
            return parse_keep_alive(self.keep_alive) == 0
        except ValueError:
            return False  # the backend says what is wrong with it

    @property
    def unloads(self) -> bool:
        """Whether it asks to free the memory now."""
        return self.idle and self.frees


def read(body: bytes, path: str, route: Route, house: House) -> Demand:
    """Read a request's body.

    Args:
        body: as it came.
        path: of the route.
        route: what it is.
        house: what holds for every request.

    Raises:
        RefusalError: 400: no JSON, or a schema that would crash the runner.
    """
    if not route.json:
        return Demand("", "", body, streams=False)
    try:
        value = gojson.decode(body)
    except gojson.JsonError as error:
        why = "missing request body" if str(error) == "EOF" else str(error)
        raise RefusalError(400, why, early=True) from None
    if not isinstance(value, dict):
        return Demand("", "", body, streams=False)  # runs nothing, whatever it is
    fields = _plainly_named(value)
    grammar.check(path, fields)
    asked = fields.get("model") or fields.get("name")  # `name` is the oldest spelling
    asked = asked if isinstance(asked, str) else ""
    streams = fields.get("stream")
    dropped: tuple[str, ...] = ()
    if route.native:
        dropped = _settle(fields, house)
    return Demand(
        "" if asked.strip().lower().endswith(_CLOUD) else canonical(asked),
        asked,
        _written(fields),
        streams=route.streams if streams is None else streams is True,
        idle=route.native and route.work is Work.TEXT and _is_empty(fields),
        keep_alive=fields.get("keep_alive") if route.native else None,
        dropped=dropped,
    )


def _written(fields: Mapping[str, Any]) -> bytes:
    try:
        return gojson.encode(fields)
    except RecursionError:  # what could just be read need not be shallow enough to be written
        raise RefusalError(400, "exceeded max depth", early=True) from None


def canonical(name: str) -> str:
    """The one name of a model among its spellings: "Tooly" and "library/tooly:latest" are the same.

    Returns:
        Lower case, without the default registry and folder, with a tag; empty for an empty name.
    """
    plain = name.strip().lower()
    for place in _PLACES:
        plain = plain.removeprefix(place)
    return plain if not plain or ":" in plain.rpartition("/")[2] else f"{plain}:latest"


def _plainly_named(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with the names that matter here in their plain spelling; Go takes any case."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        folded = key.translate(_KELVIN_AND_LONG_S).lower()
        found[folded if folded in _OURS else key] = item
    return found


def _settle(fields: dict[str, Any], house: House) -> tuple[str, ...]:
    """Set what holds for every native request; the options that were taken out."""
    if fields.get("keep_alive") is None:
        fields["keep_alive"] = house.keep_alive
    options = fields.get("options")
    if options is None:
        options = {}
    elif not isinstance(options, dict):
        return ()  # the backend says what is wrong with it
    kept = {key: item for key, item in options.items() if key not in RELOADING}
    dropped = tuple(key for key in options if key in RELOADING)
    if house.gpu_layers >= 0:
        kept["num_gpu"] = house.gpu_layers
    if kept or "options" in fields:
        fields["options"] = kept
    return dropped


def _is_empty(fields: Mapping[str, Any]) -> bool:
    return not any(fields.get(key) for key in ("prompt", "messages", "suffix", "images"))
