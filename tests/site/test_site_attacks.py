"""Traversal and header attacks over a bare TLS socket: refused by name, and no secret ever leaves."""

from __future__ import annotations

import pytest
from answers import STRICT
from hostile import REQUESTS
from places import PAGE, SECRET, Serving
from rawtls import ask, get


@pytest.mark.parametrize(
    ("request_", "status"), [row[1:] for row in REQUESTS], ids=[row[0] for row in REQUESTS]
)
async def test_an_attack_is_refused(serving: Serving, request_: bytes, status: int) -> None:
    answer, behind = await ask(serving.port, request_)
    assert answer.status == status
    assert behind == b"", "what came behind a refused request was answered too"
    assert SECRET not in answer.body
    assert b"root:" not in answer.body
    for name, value in STRICT:
        assert answer.headers[name.lower()] == value
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.headers.get("allow") == "GET, HEAD") is (status == 405)
    assert (answer.headers.get("connection") == "close") is (status != 404)
    # And it does as before for others.
    again, _ = await ask(serving.port, get("/"))
    assert (again.status, again.body) == (200, PAGE)


def test_there_are_enough_of_them_and_none_twice() -> None:
    assert len({row[1] for row in REQUESTS}) == len(REQUESTS) >= 120
    assert len({row[0] for row in REQUESTS}) == len(REQUESTS)


async def test_a_refusal_says_nothing_that_came_with_the_request(serving: Serving) -> None:
    for request_ in (
        get("/<script>marker</script>"),
        get("/", host="marker.example"),
        get("/", method="MARKER"),
        get("/marker", "marker: <b>"),
    ):
        answer, _ = await ask(serving.port, request_)
        assert answer.status >= 400
        assert b"marker" not in (answer.body + str(answer.headers).encode()).lower()
