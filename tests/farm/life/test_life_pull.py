"""A model that is missing is fetched by the backend: with a bar or lines, and a word in /_health."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fronts import plan, standing
from standin.ollama import Model, Standin

from farm.rooms import Rooms
from wire.errors import OurFault


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


NEW = {"new": Model()}


async def health(rooms: Rooms) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return dict((await client.get(f"{rooms.url}/_health")).json())


def wanting(model: str = "new", **more: Any) -> Any:
    return plan(model=model, **more)


# -- progress ----------------------------------------------------------------------------------------------


async def test_a_bar_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", err := Terminal())
    async with (
        Standin(registry=NEW, pull_s=0.1, pull_steps=20) as ollama,
        standing(ollama.url, asked=wanting()),
    ):
        assert len(ollama.loads) == 1
    *drawn, last = err.getvalue().split("\r")[1:]
    assert drawn
    assert all(line.startswith("pulling new: ") and not line.endswith("\n") for line in drawn)
    assert last.startswith("pulling new: 100 % of 98 MB [##############################]\n")
    assert last.count("\n") == 1


async def test_lines_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    async with (
        Standin(registry=NEW, pull_s=0.05, pull_steps=50) as ollama,
        standing(ollama.url, asked=wanting()),
    ):
        pass
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pulling new: ")]
    assert 5 <= len(lines) <= 11
    assert lines[-1] == "pulling new: 100 % of 98 MB"


async def test_what_the_farm_does_is_in_its_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    seen: list[str | None] = []
    told = Rooms._tell

    def tell(rooms: Rooms, doing: str) -> None:
        told(rooms, doing)
        seen.append(rooms.panel.facts()["doing"])

    monkeypatch.setattr(Rooms, "_tell", tell)
    registry = {"new": Model(load_s=0.05)}
    async with (
        Standin(registry=registry, pull_s=0.05) as ollama,
        standing(ollama.url, asked=wanting()) as rooms,
    ):
        now = await health(rooms)
    assert seen[0] == "pulling new"
    assert seen[-1] == "pulling new: 100 %"
    assert now["doing"] is None
    assert now["warm"] == {"new:latest": True}


async def test_what_is_there_is_not_fetched() -> None:
    async with Standin() as ollama, standing(ollama.url):
        assert ollama.asked("/api/pull") == []


@pytest.mark.parametrize(
    "name", ["new", "new:latest", "NEW", "library/new", "registry.ollama.ai/library/new"]
)
async def test_a_model_of_another_spelling_is_there(name: str) -> None:
    async with (
        Standin({"new:latest": Model()}) as ollama,
        standing(ollama.url, asked=wanting(name, pull=False)),
    ):
        assert ollama.asked("/api/pull") == []


async def test_two_backends_fetch_one_after_the_other() -> None:
    shelf: dict[str, Model] = {}

    class Shared(dict[str, Model]):
        """A store of two servers."""

    store = Shared(shelf)
    async with (
        Standin(store, registry=NEW, pull_s=0.05) as one,
        Standin(store, registry=NEW, pull_s=0.05) as two,
    ):
        one.models = two.models = one.routes.models = two.routes.models = store
        async with standing(one.url, two.url, asked=wanting()):
            assert len(one.asked("/api/pull") + two.asked("/api/pull")) == 1
            assert len(one.loads) == len(two.loads) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------


async def why(*urls: str, **more: Any) -> str:
    with pytest.RaisesGroup(OurFault, flatten_subgroups=True) as caught:
        async with standing(*urls, asked=wanting(**more)):
            raise AssertionError("it came up")
    fault = caught.value
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    assert isinstance(fault, OurFault)
    return fault.detail


async def test_a_model_that_is_nowhere() -> None:
    async with Standin() as ollama:
        assert (await why(ollama.url)).startswith("new cannot be pulled: pull model manifest: ")


async def test_no_pull() -> None:
    async with Standin(registry=NEW) as ollama:
        told = await why(ollama.url, pull=False)
        assert told == "new is not there and --no-pull is given; without it the farm fetches it"
        assert ollama.asked("/api/pull") == []


@asynccontextmanager
async def pretender(pull: bytes, tags: bytes = b'{"models":[]}', *, whole: bool = True) -> AsyncIterator[str]:
    """Something that answers like an Ollama, but for its pull: these bytes, and the end, too early or not."""
    answers: dict[bytes, bytes] = {
        b"/api/version": b'{"version":"0"}', b"/api/ps": b'{"models":[]}', b"/api/tags": tags,
    }  # fmt: skip

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        body = answers.get(path)
        if body is None:
            length = b"" if whole else b"Content-Length: 9999999\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n%s" % (length, pull))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


LINE = json.dumps({"status": "pulling x", "digest": "x", "total": 100, "completed": 40}).encode() + b"\n"
KEPT = "; what was fetched is kept, start again to go on"


BROKE = "pulling new broke off: "


@pytest.mark.parametrize(
    ("pull", "whole", "told"),
    [
        (LINE, False, f"{BROKE}ClientPayloadError{KEPT}"),
        (b"", False, f"{BROKE}ClientPayloadError{KEPT}"),
        (LINE + b"<html>\n", True, f"{BROKE}JSONDecodeError{KEPT}"),
        (LINE + b"[1]\n", True, f"{BROKE}ValueError{KEPT}"),
        (LINE.replace(b"100", b"null"), True, f"{BROKE}TypeError{KEPT}"),
        (b" " * 2**20, True, f"{BROKE}LineTooLong{KEPT}"),
        (LINE + b'{"error":"max retries: EOF"}\n', True, "new cannot be pulled: max retries: EOF"),
        (LINE, True, "pulling new ended before it was complete; start again to go on"),
        (b"", True, "pulling new ended before it was complete; start again to go on"),
    ],
    ids=["cut", "nothing", "a page", "no object", "odd", "endless line", "error", "no success", "empty"],
)
async def test_a_pull_that_goes_wrong(
    pull: bytes, whole: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", err := Terminal())
    async with pretender(pull, whole=whole) as url:
        assert await why(url) == told
    assert err.getvalue() == "" or err.getvalue().endswith("\n"), "what is told next has a line of its own"


@pytest.mark.parametrize("tags", [b"[]", b"{}", b'{"models":[{}]}', b"no", b'{"models":7}'])
async def test_a_backend_that_does_not_list_its_models(tags: bytes) -> None:
    async with pretender(b"", tags) as url:
        assert (await why(url)).startswith(f"{url} does not list its models (")


async def test_a_pull_in_silence_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.limits.PULL_SILENT_S", 0.1)
    async with Standin(registry=NEW, pull_s=30) as ollama:
        assert (await why(ollama.url)).startswith(
            "pulling new broke off: SocketTimeoutError; what was fetched"
        )


async def test_the_owner_leaves_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", err := Terminal())
    async with Standin(registry=NEW, pull_s=30, pull_steps=100) as ollama:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            from farm.service import Adopted
            from farm.sources import Source

            async with Rooms(wanting(), [Source(ollama.url, Adopted())], listener) as rooms:
                living = asyncio.create_task(rooms.live())
                await eventually(lambda: rooms.panel.doing == "pulling new: 0 %")
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
        await ollama.until(lambda o: o.open_connections == 0)
    assert err.getvalue().endswith("\n")


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)
