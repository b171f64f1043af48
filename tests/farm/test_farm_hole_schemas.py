"""A schema that ends a runner for everybody is refused to who sent it; the streams of the others go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from holes import Call, Told, ask, asked, body, farm_of, idle, post, quicken, standin
from standin.ollama import Standin

from farm import limits
from farm.rooms import Rooms

DEADLY = {"type": "object", "properties": {"x": {"type": "string", "minLength": 2001}}}
HARMLESS = {"type": "object", "properties": {"x": {"type": "string", "minLength": 2000}}}
Farm = tuple[Rooms, Standin]


def wish(path: str, schema: Any) -> dict[str, Any]:
    """Where each route keeps its schema."""
    form: dict[str, Any] = {"format": schema}
    if path == "/v1/chat/completions":
        form = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    elif path == "/v1/responses":
        form = {"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    return body(path, "tokens=1", stream=False, **form)


ROUTES = ("/api/generate", "/api/chat", "/v1/chat/completions", "/v1/responses")
OTHERS: dict[str, dict[str, Any]] = {
    "below items": {"type": "array", "items": DEADLY},
    "below $defs": {"$defs": {"d": DEADLY}, "$ref": "#/$defs/d"},
    "maxLength": {"type": "string", "maxLength": 2001},
    "maxItems": {"type": "array", "maxItems": 100_000},
    "an empty range": {"type": "string", "minLength": 9, "maxLength": 3},
    "no whole number": {"type": "integer", "minimum": 4, "maximum": 3},
    "negative": {"type": "string", "minLength": -1},
    "huge": {"type": "string", "minLength": 1e20},
    "ends Ollama itself": {"type": "string", "pattern": "^(?:a|b)$"},
    "spins in Ollama": {"type": "string", "pattern": "^a}$"},
    "no type": {"type": []},
    "no choice": {"anyOf": []},
}


@pytest.fixture
async def farm(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Farm]:
    quicken(monkeypatch)
    async with standin() as ollama, farm_of(ollama) as rooms:
        yield rooms, ollama


async def beside_a_stream(farm: Farm, request: bytes) -> Told:
    """The answer to a request that is sent while another client's stream goes on, which must end whole."""
    rooms, ollama = farm
    other = await Call.to(rooms.url, ask("/api/generate", "tokens=12 gap=0.01"))
    assert await other.chunk()
    before = len(ollama.seen)
    told = await asked(rooms.url, request)
    if told.status == 400:
        assert not [request for request in ollama.seen[before:] if request.path != "/api/ps"]
    whole = await other.whole()
    assert json.loads(whole.lines[-1])["done"] is True
    assert ollama.runner_starts == 1
    return told


@pytest.mark.parametrize("path", ROUTES)
async def test_it_is_refused_on_every_route_that_makes_a_grammar(farm: Farm, path: str) -> None:
    told = await beside_a_stream(farm, post(path, wish(path, DEADLY)))
    assert told.status == 400
    assert "minLength must be 0 to 2000" in told.error
    assert isinstance(told.json["error"], dict if path.startswith("/v1/") else str)
    await idle(*farm)


@pytest.mark.parametrize("path", ROUTES)
async def test_the_largest_that_is_harmless_passes(farm: Farm, path: str) -> None:
    told = await beside_a_stream(farm, post(path, wish(path, HARMLESS)))
    assert told.status == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages"])
async def test_routes_that_make_no_grammar_are_not_judged(farm: Farm, path: str) -> None:
    told = await beside_a_stream(farm, post(path, wish(path, DEADLY)))
    assert told.status == 200


@pytest.mark.parametrize("name", OTHERS)
async def test_its_like_is_refused(farm: Farm, name: str) -> None:
    told = await beside_a_stream(farm, post("/api/generate", wish("/api/generate", OTHERS[name])))
    assert told.status == 400
    assert "end the model's runner" in told.error


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api/generate", "FORMAT"),
        ("/api/chat", "Format"),
        ("/v1/chat/completions", "Response_Format"),
        ("/v1/chat/completions", "re\u017fponse_format"),
        ("/v1/responses", "TEXT"),
    ],
)
async def test_in_every_spelling_that_go_takes(farm: Farm, path: str, key: str) -> None:
    rooms, _ = farm
    asked_for = wish(path, DEADLY)
    plain = key.lower().replace("\u017f", "s")
    asked_for[key] = asked_for.pop(plain)
    assert (await asked(rooms.url, post(path, asked_for))).status == 400


async def test_the_last_of_two_counts_as_it_does_behind(farm: Farm) -> None:
    rooms, _ = farm
    plain, deadly = (json.dumps(schema) for schema in (HARMLESS, DEADLY))
    for first, last, status in ((plain, deadly, 400), (deadly, plain, 200)):
        one, two = f'"format":{first}', f'"Format":{last}'
        text = f'{{"model":"a","prompt":"tokens=1","stream":false,{one},{two}}}'
        assert (await asked(rooms.url, post("/api/generate", text.encode()))).status == status


async def test_a_schema_in_a_large_request_is_seen(farm: Farm) -> None:
    long = wish("/api/generate", DEADLY) | {"system": "x" * limits.BIG_BODY_B}
    told = await beside_a_stream(farm, post("/api/generate", long))
    assert told.status == 400


async def test_without_the_farm_it_ends_the_streams_of_others() -> None:
    """What is closed here is a hole."""
    async with standin() as ollama:
        other = await Call.to(ollama.url, ask("/api/generate", "tokens=99 gap=0.01"))
        assert await other.chunk()
        assert (await asked(ollama.url, post("/api/generate", wish("/api/generate", DEADLY)))).status == 500
        assert "cgo" in json.loads((await other.whole()).lines[-1])["error"]
