"""The farm's own routes as a stranger finds them: true, bounded, silent about prompts, and never a 500."""

from __future__ import annotations

import asyncio
import json
import random
import re
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import schemathesis
from comers import client, front, get, post
from fronts import standing
from hypothesis import HealthCheck, given, settings
from prometheus_client.parser import text_string_to_metric_families
from talking import CHUNKED, LAST, OK, Told, chunk, parsed, read_answer, read_body, talking, until_closed

from farm import limits
from farm.backend import Phase
from farm.metrics import Metrics
from farm.panel import make_app
from farm.rooms import Rooms
from farm.witness import Counts

OWN = ["/_health", "/health", "/metrics", "/_requests"]
READY = frozenset({"a:latest"})


async def told(rooms: Rooms, request: bytes, method: str = "GET") -> Told:
    async with client(rooms.url) as (reader, writer):
        writer.write(request)
        return await read_answer(reader, method)


async def health(rooms: Rooms, query: str = "") -> tuple[int, dict[str, Any]]:
    answer = await told(rooms, get(f"/_health{query}"))
    return answer.status, json.loads(answer.body)


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    """Two backends that are up and ready, the first with the model."""
    async with (
        talking(until_closed) as one,
        talking(until_closed) as two,
        standing(one.url, two.url, alive=False) as found,
    ):
        for backend in found.backends:
            backend.phase = Phase.READY
        found.backends[0].place.loaded = READY
        yield found


# -- whatever is asked ----------------------------------------------------------------------------


async def test_nothing_that_the_schema_allows_or_forbids_is_an_error_of_ours(rooms: Rooms) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GET and HEAD of a route have one function
        schema = schemathesis.openapi.from_dict(make_app(rooms.panel).openapi())
    seen = 0

    def fuzz() -> None:
        nonlocal seen
        for found in schema.get_all_operations():
            operation = found.ok()

            @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy())
            def one(case: schemathesis.Case) -> None:
                nonlocal seen
                seen += 1
                answer = case.call(base_url=rooms.url)
                assert answer.status_code in {200, 400, 403, 405, 422, 503}, answer.content
                assert answer.status_code != 503 or "health" in case.path

            one()

    await asyncio.to_thread(fuzz)
    assert seen > 100


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_own_routes_are_only_read(rooms: Rooms, path: str, method: str) -> None:
    answer = await told(rooms, get(path, method=method))
    assert answer.status == 405
    assert set(answer.every(b"allow")[0].split(b", ")) == {b"GET", b"HEAD"}


@pytest.mark.parametrize("path", OWN)
async def test_head_says_what_get_says(rooms: Rooms, path: str) -> None:
    whole = await told(rooms, get(path))
    head = await told(rooms, get(path, method="HEAD"), "HEAD")
    assert (whole.status, head.status) == (200, 200)
    assert head.every(b"content-type") == whole.every(b"content-type")
    assert head.body == b""


@pytest.mark.parametrize("path", [*OWN, "/nowhere"])
@pytest.mark.parametrize(
    ("headers", "host"),
    [(("Origin: https://evil.example",), "localhost"), (("Origin: null",), "localhost"), ((), "evil.example"),
     (("Origin: http://evil.example",), "evil.example"), (("X-Forwarded-Host: localhost",), "evil.example")],
)  # fmt: skip
async def test_pages_of_others_see_nothing(
    rooms: Rooms, path: str, headers: tuple[str, ...], host: str
) -> None:
    request = get(path, *headers).replace(b"Host: localhost", f"Host: {host}".encode())
    answer = await told(rooms, request)
    assert answer.status == 403
    assert answer.body == b""
    assert answer.every(b"access-control-allow-origin") == []


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/_health", "GET", 200), ("/_health?model=b", "GET", 503), ("/metrics", "GET", 200),
     ("/_requests", "GET", 200), ("/_requests", "POST", 405), ("/nowhere", "GET", 404),
     ("/_health", "OPTIONS", 204)],
)  # fmt: skip
async def test_pages_on_this_machine_may_read(rooms: Rooms, path: str, method: str, status: int) -> None:
    answer = await told(rooms, get(path, "Origin: http://localhost:3000", method=method))
    assert answer.status == status
    assert answer.every(b"access-control-allow-origin") == [b"http://localhost:3000"]
    assert b"Origin" in answer.every(b"vary")


# -- health ---------------------------------------------------------------------------------------


async def test_health_is_the_truth(rooms: Rooms) -> None:
    one, two = rooms.backends
    assert await health(rooms) == (200, rooms.panel.facts())
    assert rooms.panel.facts()["status"] == "ready"
    two.place.up = False
    assert (await health(rooms))[1]["status"] == "degraded"
    two.place.up, two.hangs = True, True
    assert (await health(rooms))[1]["status"] == "degraded"
    one.phase = Phase.PREPARING
    status, facts = await health(rooms)
    assert (status, facts["status"]) == (503, "starting")
    for backend in rooms.backends:
        backend.place.up = backend.place.coming = False
    status, facts = await health(rooms)
    assert (status, facts["status"]) == (503, "down")


@pytest.mark.parametrize(
    ("query", "status"),
    [("?model=a", 200), ("?model=A:latest", 200), ("?model=library%2Fa", 200), ("?model=", 200),
     ("?x=y", 200), ("?model=b", 503), ("?model=a:other", 503), ("?model=%00%ff", 503),
     ("?model=a&model=b", 503)],
)  # fmt: skip
async def test_health_of_a_model(rooms: Rooms, query: str, status: int) -> None:
    assert (await health(rooms, query))[0] == status


async def test_a_model_that_only_a_backend_that_is_down_has_is_not_there(rooms: Rooms) -> None:
    rooms.backends[0].place.up = False
    status, facts = await health(rooms, "?model=a")
    assert (status, facts["models"], facts["warm"]) == (503, [], {"a:latest": False})


# -- metrics --------------------------------------------------------------------------------------


def series(text: bytes) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_metrics_are_what_prometheus_reads(rooms: Rooms) -> None:
    answer = await told(rooms, get("/metrics"))
    assert answer.every(b"content-type")[0].startswith(b"text/plain; version=")
    found = series(answer.body)
    assert found["farm_backend_up[('backend', '0')]"] == 1
    for name in ("farm_requests_waiting", "farm_requests_running", "farm_slots", "farm_ghosts"):
        assert f"{name}[]" in found
    for name in ("farm_ttft_seconds_count", "farm_queue_seconds_count", "farm_chunk_gap_seconds_count"):
        assert found[f"{name}[]"] == 0


DONE = b'{"model":"x","done":true,"prompt_eval_count":3,"eval_count":4}\n'


async def test_clients_cannot_make_up_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NAMED_MODELS_MAX", 3)
    dice = random.Random(5)
    names = [f"m{dice.randrange(10**9)}{tail}" for tail in ("", ':"\n}', "\\u00e4")] * 40

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await read_body(parsed(backend.heads[-1]), reader)
        if b"/api/generate" in asked.first:
            return writer.write(CHUNKED + chunk(DONE) + LAST)
        return writer.write(OK + b'Content-Length: 13\r\n\r\n{"models":[]}')

    async with front(talk) as (rooms, backend):
        for number, name in enumerate(names):
            body = {
                "model": f"{name}{number}",
                "prompt": "x",
                "options": {f"o{number}": 1, "num_ctx": number},
            }
            headers = (f"X-Request-Id: r{number}", f"User-Agent: u{number}")
            target = f"/api/generate?q={number}"
            assert (await told(rooms, post(json.dumps(body).encode(), target, *headers))).status == 200
            await told(rooms, get(f"/api/x{number}"))
            await told(rooms, get(f"/y{number}"))
            if number == 10:
                before = series(rooms.panel._metrics.text())
        after = series(rooms.panel._metrics.text())
        assert after.keys() == before.keys()
        tokens = {name: value for name, value in after.items() if name.startswith("farm_tokens_total")}
        assert sum(tokens.values()) == 7 * len(names)
        assert len(tokens) == 2 * 4


def test_a_thousand_names_are_a_hundred_series_and_one(rooms: Rooms) -> None:
    metrics = Metrics(rooms.desk, [])
    for number in range(1000):
        metrics.count_tokens(f"m{number}", Counts(1, 1))
    names = {re.search(r"'model', '(\w+)'", key) for key in series(metrics.text()) if "farm_tokens" in key}
    assert len({found[1] for found in names if found}) == limits.NAMED_MODELS_MAX + 1


# -- requests -------------------------------------------------------------------------------------


async def test_who_waits_is_shown_and_not_what_is_asked() -> None:
    secret = "a very private matter"
    body = {"model": "a", "prompt": secret, "system": secret, "images": [], "options": {"stop": [secret]}}
    async with front(until_closed) as (rooms, _), client(rooms.url) as (_, writer):
        writer.write(post(json.dumps(body).encode(), "/api/generate", "X-Request-Id: mine"))
        while not rooms.desk.tickets:
            await asyncio.sleep(0.01)
        answer = await told(rooms, get("/_requests"))
        (shown,) = json.loads(answer.body)["requests"]
        assert secret.encode() not in answer.body
        assert (shown["id"], shown["path"], shown["model"]) == ("mine", "/api/generate", "a")
        assert set(shown) == {"id", "path", "model", "state", "position", "backend", "age_ms"}


async def test_names_that_are_long_or_odd_do_not_spoil_the_list() -> None:
    async with front(until_closed) as (rooms, _), client(rooms.url) as (_, writer):
        body = b'{"model":"\\"\\ud800</script>' + b"x" * 100_000 + b'","prompt":"x"}'
        writer.write(post(body, "/api/generate", "X-Request-Id: \xe4" + "y" * 1000))
        while not rooms.desk.tickets:
            await asyncio.sleep(0.01)
        answer = await told(rooms, get("/_requests"))
        (shown,) = json.loads(answer.body)["requests"]
        assert answer.every(b"content-type") == [b"application/json"]
        assert len(shown["model"]) <= limits.SHOWN_NAME_MAX
        assert len(shown["id"]) <= 64


async def test_own_routes_answer_while_every_backend_is_silent(rooms: Rooms) -> None:
    async with client(rooms.url) as (_, first), client(rooms.url) as (_, second):
        first.write(get("/api/tags"))
        second.write(post(b'{"model":"a","prompt":"x"}', "/api/generate"))
        for path in OWN:
            assert (await told(rooms, get(path))).status == 200
