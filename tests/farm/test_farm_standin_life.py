"""The stand-in loads, queues, loses clients and dies as the recorded Ollama does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rawhttp import Answer
from standin.calls import Callers, answered, last, post, silent, told
from standin.ollama import Model, Standin

BUSY = "server busy, please try again.  maximum pending requests exceeded"
BROKEN = "an error was encountered while running the model: unexpected EOF"
THREE = {name: Model(load_s=0.02) for name in "abc"}


@pytest.fixture
def call() -> Iterator[Callers]:
    callers = Callers()
    yield callers
    callers.close()


def chat(words: str, **more: Any) -> bytes:
    return post(prompt=words, **more)


def options(**given: Any) -> bytes:
    return post(prompt="tokens=1", options=given)


async def ps(ollama: Standin) -> list[str]:
    answer = await told(ollama.url, b"GET /api/ps HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return [one["name"] for one in json.loads(answer.body)["models"]]


def done(answer: Answer) -> bool:
    return answer.status == 200 and last(answer)["done"] is True


# -- slots and the first token ---------------------------------------------------------------------------


async def test_nothing_is_sent_before_the_first_token(call: Callers) -> None:
    async with Standin() as ollama:
        await told(ollama.url, post())
        ollama.hang_runner("a")
        wire = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.seen and o.asked("/api/generate")[1:])
        assert await silent(wire)
        ollama.resume_runner("a")
        assert done(await answered(wire))


@pytest.mark.parametrize("parallel", [1, 3])
async def test_no_more_run_than_there_are_slots(parallel: int, call: Callers) -> None:
    async with Standin(parallel=parallel, max_queue=1) as ollama:
        await told(ollama.url, post())
        wires = [call(ollama.url, chat("tokens=4 gap=0.005")) for _ in range(8)]
        answers = [await answered(wire) for wire in wires]
        assert all(map(done, answers)), "waiting for a slot has no bound"
        assert (ollama.most_running, ollama.running) == (parallel, 0)


async def test_first_come_first_served(call: Callers) -> None:
    async with Standin() as ollama:
        first = call(ollama.url, chat("tokens=9 gap=0.02"))
        await ollama.until(lambda o: o.running == 1)
        ends: list[int] = []

        async def end(at: int) -> None:
            assert done(await answered(wires[at]))
            ends.append(at)

        wires = []
        for at in range(3):
            wires.append(call(ollama.url, chat("tokens=2 gap=0.01")))
            await ollama.until(lambda o, at=at: o.waiting == at + 1)
        await asyncio.gather(*(end(at) for at in range(3)), answered(first))
        assert ends == [0, 1, 2]


async def test_a_prefill_holds_up_the_streams_beside_it(call: Callers) -> None:
    async with Standin(parallel=2) as ollama:
        call(ollama.url, chat("tokens=900 gap=0.001"))
        await ollama.until(lambda o: o.told > 2)
        call(ollama.url, chat("prefill=0.2"))
        await ollama.until(lambda o: o.running == 2)
        before = ollama.told
        await asyncio.sleep(0.05)
        assert ollama.told <= before + 1


async def test_counts_and_times_of_the_last_line(call: Callers) -> None:
    async with Standin() as ollama:
        first = call(ollama.url, chat("tokens=2 gap=0.03"))
        await ollama.until(lambda o: o.running == 1)
        end = last(await told(ollama.url, chat("tokens=3 prefill=0.02")))
        await answered(first)
    assert (end["eval_count"], end["done_reason"]) == (3, "stop")
    parts = sum(end[f"{part}_duration"] for part in ("load", "prompt_eval", "eval"))
    assert end["prompt_eval_duration"] >= 20_000_000
    assert parts <= end["total_duration"]


# -- loads --------------------------------------------------------------------------------------------------


async def test_only_requests_that_wait_for_a_load_are_refused(call: Callers) -> None:
    async with Standin({"a": Model(load_s=0.1)}, max_queue=2) as ollama:
        wires = [call(ollama.url, chat("tokens=1")) for _ in range(8)]
        answers = [await answered(wire) for wire in wires]
        refused = [answer for answer in answers if answer.status == 503]
        assert [last(answer)["error"] for answer in refused] == [BUSY] * 5
        assert all(answer.header("retry-after") is None for answer in refused)
        assert (ollama.runner_starts, len(ollama.loads)) == (1, 1)


@pytest.mark.parametrize(
    ("given", "loads"),
    [
        ({"num_ctx": 64}, 2), ({"num_batch": 64}, 2), ({"num_gpu": 1}, 2), ({"main_gpu": 1}, 2),
        ({"use_mmap": False}, 2), ({"num_thread": 1}, 2), ({"num_ctx": 4096}, 1), ({"num_gpu": -1}, 1),
        ({"temperature": 1, "seed": 3, "num_predict": 5, "num_keep": 7, "nosuch": 1}, 1),
    ],
)  # fmt: skip
async def test_other_options_of_the_runner_reload(given: dict[str, Any], loads: int) -> None:
    async with Standin() as ollama:
        await told(ollama.url, options())
        assert done(await told(ollama.url, options(**given)))
        assert len(ollama.loads) == loads


async def test_a_reload_waits_for_what_runs_and_all_other_loads_behind_it(call: Callers) -> None:
    async with Standin(dict(THREE), parallel=2) as ollama:
        await told(ollama.url, post(model="b"))
        running = call(ollama.url, chat("tokens=9 gap=0.02"))
        await ollama.until(lambda o: o.running == 1)
        reload = call(ollama.url, options(num_ctx=64))
        await ollama.until(lambda o: len(o.seen) == 3)
        other = call(ollama.url, post(model="c"))
        await ollama.until(lambda o: o.queued == 1)
        assert done(await told(ollama.url, post(model="b", prompt="tokens=1"))), "what is loaded goes on"
        assert (await told(ollama.url, post(model="zz"))).status == 404
        assert ollama.loading == []
        assert await silent(other)
        assert done(await answered(running))
        assert done(await answered(reload))
        assert done(await answered(other))
        assert [load.model for load in ollama.loads] == ["b", "a", "a", "c"]


async def test_old_options_slip_in_before_a_reload(call: Callers) -> None:
    async with Standin(parallel=2) as ollama:
        running = call(ollama.url, chat("tokens=9 gap=0.02"))
        await ollama.until(lambda o: o.running == 1)
        reload = call(ollama.url, options(num_ctx=64))
        await ollama.until(lambda o: len(o.seen) == 2)
        assert done(await told(ollama.url, options()))
        assert len(ollama.loads) == 1
        await answered(running)
        assert done(await answered(reload))


async def test_the_place_of_an_idle_model_is_taken(call: Callers) -> None:
    async with Standin(dict(THREE), max_loaded=2) as ollama:
        await told(ollama.url, post(model="b", keep_alive=-1))
        call(ollama.url, post(model="a", keep_alive=5, prompt="tokens=99 gap=0.02"))
        await ollama.until(lambda o: o.running == 1)
        assert done(await told(ollama.url, post(model="c")))
        assert await ps(ollama) == ["c:latest", "a:latest"] or await ps(ollama) == ["a:latest", "c:latest"]


async def test_the_place_of_the_soonest_to_expire_is_taken() -> None:
    async with Standin(dict(THREE), max_loaded=2) as ollama:
        await told(ollama.url, post(model="b", keep_alive=50))
        await told(ollama.url, post(model="a", keep_alive=5))
        assert done(await told(ollama.url, post(model="c", keep_alive=20)))
        assert await ps(ollama) == ["b:latest", "c:latest"]


async def test_a_keep_alive_given_late_is_waited_for(call: Callers) -> None:
    async with Standin({"a": Model(), "b": Model()}, max_loaded=1, parallel=2) as ollama:
        call(ollama.url, chat("tokens=9 gap=0.01"))
        await ollama.until(lambda o: o.running == 1)
        wire = call(ollama.url, post(model="b"))
        await ollama.until(lambda o: len(o.seen) == 2)
        assert done(await told(ollama.url, chat("tokens=1", keep_alive="200ms")))
        await ollama.until(lambda o: o.running == 0)
        idle = time.monotonic()
        assert ollama.loaded == ["a"]
        assert done(await answered(wire))
        assert time.monotonic() - idle > 0.1, "the eviction had to wait until that ran out"


async def test_models_of_one_file_share_a_runner() -> None:
    both = {"x": Model(gguf="f"), "y": Model(gguf="f")}
    async with Standin(both) as ollama:
        await told(ollama.url, post(model="x"))
        await told(ollama.url, post(model="y"))
        assert (ollama.runner_starts, await ps(ollama)) == (1, ["x:latest"])


async def test_a_load_that_is_refused() -> None:
    words = "model requires more system memory (9.0 GiB) than is available (1.0 GiB)"
    async with Standin({"a": Model(refusal=words)}) as ollama:
        answer = await told(ollama.url, post())
        assert (answer.status, last(answer)) == (500, {"error": words})
        assert ollama.loaded == []


async def test_a_runner_that_hangs_at_its_start_holds_up_all_until_the_client_leaves(call: Callers) -> None:
    async with Standin({"a": Model(stuck=1), "b": Model()}, load_timeout_s=0.02) as ollama:
        first = call(ollama.url, post())
        await ollama.until(lambda o: o.loading)
        second = call(ollama.url, post(model="b"))
        await ollama.until(lambda o: o.queued == 1)
        assert await silent(first, 0.1)
        ollama.kill_runner("a")
        assert await silent(first)
        call.leave(first)
        assert done(await answered(second))
        assert done(await told(ollama.url, post()))
        assert (ollama.runner_starts, ollama.aborted_loads) == (3, 1)


async def test_a_model_leaves_when_its_time_is_over() -> None:
    async with Standin() as ollama:
        await told(ollama.url, post(keep_alive="30ms"))
        assert await ps(ollama) == ["a:latest"]
        await ollama.until(lambda o: not o.loaded)
        await told(ollama.url, post(keep_alive="40ms"))
        await told(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: not o.loaded)
        assert ollama.runner_starts == 2


@pytest.mark.parametrize(
    ("keep_alive", "words"),
    [
        ("10", 'time: missing unit in duration \\"10\\"'), ("-1", 'time: missing unit in duration \\"-1\\"'),
        ("soon", 'time: invalid duration \\"soon\\"'), (True, "Unsupported type: 'bool'"),
    ],
)  # fmt: skip
async def test_keep_alives_that_are_none(keep_alive: object, words: str) -> None:
    async with Standin() as ollama:
        answer = await told(ollama.url, post(keep_alive=keep_alive))
        assert (answer.status, answer.body.decode()) == (400, f'{{"error":"{words}"}}')


@pytest.mark.parametrize("keep_alive", [-1, "-1s", "-5m"])
async def test_a_negative_keep_alive_has_no_end(keep_alive: object) -> None:
    async with Standin() as ollama:
        await told(ollama.url, post(keep_alive=keep_alive))
        answer = await told(ollama.url, b"GET /api/ps HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert json.loads(answer.body)["models"][0]["expires_at"] > "2300"


async def test_unload_while_a_stream_runs(call: Callers) -> None:
    async with Standin() as ollama:
        wire = call(ollama.url, chat("tokens=9 gap=0.01"))
        await ollama.until(lambda o: o.running == 1)
        answer = await told(ollama.url, post(keep_alive=0))
        assert last(answer)["done_reason"] == "unload"
        assert ollama.loaded == ["a"]
        assert done(await answered(wire))
        await ollama.until(lambda o: not o.loaded)


# -- clients that leave ------------------------------------------------------------


async def test_leaving_in_a_load_gives_it_up_and_the_next_begins_again(call: Callers) -> None:
    async with Standin({"a": Model(load_s=0.15)}) as ollama:
        first = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.loading)
        second = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.queued == 1)
        call.leave(first)
        await ollama.until(lambda o: o.aborted_loads == 1)
        assert done(await answered(second))
        assert (ollama.runner_starts, ollama.aborted_loads) == (2, 1)


async def test_who_left_while_waiting_for_a_load_still_counts(call: Callers) -> None:
    async with Standin({"a": Model(load_s=5)}, max_queue=2) as ollama:
        call(ollama.url, post())
        await ollama.until(lambda o: o.loading)
        waiters = [call(ollama.url, post()) for _ in range(2)]
        await ollama.until(lambda o: o.queued == 2)
        for wire in waiters:
            call.leave(wire)
        assert (await told(ollama.url, post())).status == 503


async def test_leaving_in_prefill_leaves_a_ghost(call: Callers) -> None:
    async with Standin() as ollama:
        await told(ollama.url, post(keep_alive="5m"))
        wire = call(ollama.url, chat("prefill=0.3"))
        await ollama.until(lambda o: o.running == 1)
        call.leave(wire)
        await ollama.until(lambda o: o.ghosts == 1)
        second = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.waiting == 1)
        assert await silent(second)
        assert (ollama.running, ollama.ghosts) == (1, 1)
        assert done(await answered(second))
        assert ollama.ghosts == 0


async def test_leaving_while_waiting_for_a_slot(call: Callers) -> None:
    async with Standin() as ollama:
        first = call(ollama.url, chat("tokens=9 gap=0.02"))
        await ollama.until(lambda o: o.running == 1)
        second = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.waiting == 1)
        third = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: o.waiting == 2)
        call.leave(second)
        await ollama.until(lambda o: o.waiting == 1)
        assert done(await answered(first))
        assert done(await answered(third))


async def test_leaving_in_generation_stops_after_a_token(call: Callers) -> None:
    async with Standin() as ollama:
        wire = call(ollama.url, chat("tokens=900 gap=0.02"))
        await ollama.until(lambda o: o.told == 3)
        call.leave(wire)
        await ollama.until(lambda o: o.running == 0)
        assert ollama.told <= 5
        assert done(await told(ollama.url, chat("tokens=1")))
        assert ollama.runner_starts == 1


async def test_many_who_leave_lose_no_slot(call: Callers) -> None:
    async with Standin() as ollama:
        for at in range(40):
            wire = call(ollama.url, chat("tokens=3 gap=0.002 prefill=0.002"))
            await ollama.until(lambda o, at=at: len(o.seen) == at + 1)
            await asyncio.sleep(0.0005 * (at % 10))
            call.leave(wire)
        assert done(await told(ollama.url, chat("tokens=2")))
        await ollama.until(lambda o: o.running == 0 and o.waiting == 0)
        assert ollama.most_running == 1


async def test_a_list_of_texts_takes_the_slots_before_what_comes_later(call: Callers) -> None:
    async with Standin(parallel=2) as ollama:
        await told(ollama.url, post())
        texts = call(ollama.url, post("/api/embed", input=["prefill=0.02"] * 8))
        await ollama.until(lambda o: o.running and o.waiting)
        later = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: len(o.seen) == 3)
        assert len(json.loads((await answered(texts)).body)["embeddings"]) == 8
        assert done(await answered(later))


async def test_leaving_drops_the_rest_of_a_list(call: Callers) -> None:
    async with Standin() as ollama:
        wire = call(ollama.url, post("/api/embed", input=["prefill=0.03"] * 90))
        await ollama.until(lambda o: o.running == 1)
        call.leave(wire)
        assert done(await told(ollama.url, chat("tokens=1")))


# -- runners that die or hang ------------------------------------------------------------


async def test_a_runner_killed_while_idle_is_listed_until_the_next_request() -> None:
    async with Standin() as ollama:
        await told(ollama.url, post())
        ollama.kill_runner("a")
        assert await ps(ollama) == ["a:latest"]
        assert done(await told(ollama.url, chat("tokens=1")))
        assert ollama.runner_starts == 2


async def test_a_killed_runner_ends_every_stream_of_its_model_alone(call: Callers) -> None:
    async with Standin({"a": Model(), "b": Model()}, parallel=2) as ollama:
        wires = [call(ollama.url, chat("tokens=99 gap=0.01")) for _ in range(2)]
        other = call(ollama.url, post(model="b", prompt="tokens=20 gap=0.01"))
        await ollama.until(lambda o: o.running == 3 and o.told > 6)
        ollama.kill_runner("a")
        for wire in wires:
            answer = await answered(wire)
            assert (answer.status, answer.end, last(answer)) == (200, "last chunk", {"error": BROKEN})
        assert done(await answered(other))


async def test_a_hung_runner_is_silent_and_replaced_after_its_streams(call: Callers) -> None:
    async with Standin(parallel=2, ping_s=0.03) as ollama:
        hung = call(ollama.url, chat("tokens=9 hang_at=1"))
        await ollama.until(lambda o: o.chunks == 1)
        second = call(ollama.url, chat("tokens=1"))
        await ollama.until(lambda o: len(o.seen) == 2)
        assert await silent(second, 0.1)
        call.leave(hung)
        assert done(await answered(second))
        assert ollama.runner_starts == 2


# -- servers that end, connections --------------------------------------------------


async def test_a_killed_server_cuts_and_comes_back_on_its_port(call: Callers) -> None:
    async with Standin() as ollama:
        wire = call(ollama.url, chat("tokens=9 hang_at=1"))
        await ollama.until(lambda o: o.chunks == 1)
        await ollama.cut()
        answer = await answered(wire)
        assert (answer.end, len(answer.chunks or [])) == ("eof", 1)
        with pytest.raises(ConnectionRefusedError):
            call(ollama.url, post())
        await ollama.close()
        await ollama.open()
        assert done(await told(ollama.url, chat("tokens=1")))


async def test_a_connection_cut_within_a_stream() -> None:
    async with Standin() as ollama:
        answer = await told(ollama.url, chat("tokens=9 cut_at=3"))
        assert (answer.end, len(answer.chunks or [])) == ("eof", 3)
        assert done(await told(ollama.url, chat("tokens=1")))


async def test_a_stopped_server_accepts_and_says_nothing(call: Callers) -> None:
    async with Standin() as ollama:
        ollama.freeze()
        wire = call(ollama.url, chat("tokens=1"))
        assert await silent(wire)
        assert ollama.seen == []
        ollama.thaw()
        assert done(await answered(wire))


async def test_one_connection_serves_many_requests(call: Callers) -> None:
    async with Standin() as ollama:
        wire = call(ollama.url, chat("tokens=1"))
        assert done(await answered(wire))
        wire.send(chat("tokens=2"))
        assert done(await answered(wire))
        assert [request.connection for request in ollama.seen] == [1, 1]


async def test_it_can_be_smuggled_to(call: Callers) -> None:
    hidden = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    body = b'f\r\n{"model": "zz"}\r\n0\r\n\r\n'
    length = b"Content-Length: %d\r\n\r\n" % (len(body) + len(hidden))
    async with Standin() as ollama:
        wire = call(ollama.url, head + length + body + hidden)
        assert (await answered(wire)).status == 404
        assert (await answered(wire)).body == b'{"version":"0.24.0"}'
        assert [(one.method, one.path, one.connection) for one in ollama.seen] == [
            ("POST", "/api/generate", 1), ("GET", "/api/version", 1),
        ]  # fmt: skip


async def test_what_was_seen(call: Callers) -> None:
    async with Standin() as ollama:
        await told(ollama.url, post(keep_alive="7s", options={"num_ctx": 64}))
        (seen,) = ollama.seen
        assert (seen.method, seen.target, seen.header("host")) == ("POST", "/api/generate", "127.0.0.1")
        assert json.loads(seen.body)["keep_alive"] == "7s"
        (load,) = ollama.loads
        assert (load.model, load.options["num_ctx"], load.keep_alive) == ("a", 64, 7)


async def test_a_pull_tells_its_progress() -> None:
    async with Standin({}, registry={"new": Model(size=300)}) as ollama:
        answer = await told(ollama.url, post("/api/pull", model="new"))
        lines = [json.loads(line) for line in answer.body.splitlines()]
        assert [line["completed"] for line in lines if "completed" in line] == [100, 200, 300]
        assert (lines[0]["status"], lines[-1]["status"]) == ("pulling manifest", "success")
        assert done(await told(ollama.url, post(model="new")))
        unknown = await told(ollama.url, post("/api/pull", model="nosuch"))
        assert (unknown.status, list(last(unknown))) == (200, ["error"])


async def test_waiting_for_what_never_comes_ends() -> None:
    async with Standin() as ollama:
        with pytest.raises(AssertionError, match="not within"):
            await ollama.until(lambda o: o.seen, within_s=0.01)
