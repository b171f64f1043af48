"""Exchanges that need more than a request: an engine killed, a queue that is full, a client that leaves.

Each scene takes the running farm and the exchange's name, brings about what was recorded, and returns the
answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from rawhttp import Answer, Wire, ask, asking
from recorded import ENTRIES, request_of

from farm import limits
from farm.api import gojson
from farm.embedded.app import OllamaApp
from farm.embedded.runner import Runner
from farm.plan import EnginePlan
from farm.server import Server

Scene = Callable[[Any, str], Answer]
SCENES: dict[str, Scene] = {}
NOWHERE = EnginePlan("/nowhere/model.gguf", slots=1, slot_tokens=2048, threads=1, batch=512)
CUT = Answer("HTTP/1.1", 0, "", [], end="eof")
"""What a client has that was sent nothing."""


def _scene(*names: str) -> Callable[[Scene], Scene]:
    def keep(scene: Scene) -> Scene:
        SCENES.update(dict.fromkeys(names, scene))
        return scene

    return keep


def eventually(fact: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not (held := fact()) and time.monotonic() < end:
        time.sleep(0.01)
    return held


def engine_pid(farm: Any) -> int:
    """The farm's one child; it is loaded first."""
    ask(farm.back, request_of("generate_empty_prompt_load"))
    (child,) = Path(f"/proc/{farm.process.pid}/task/{farm.process.pid}/children").read_text().split()
    return int(child)


def _rest(wire: Wire, told: Answer) -> Answer:
    """The rest of a stream of which the head was read."""
    told.chunks = [*(told.chunks or []), *wire.chunks()]
    told.body = b"".join(told.chunks)
    told.end = "eof" if wire.over else "last chunk"
    return told


def _begun(wire: Wire) -> Answer:
    """A stream of which two chunks with text have come."""
    told = wire.head()
    chunks = wire.chunks()
    told.chunks = [next(chunks)]
    while len([chunk for chunk in told.chunks if b'done":false' in chunk or b"delta" in chunk]) < 2:
        told.chunks.append(next(chunks))
    return told


def _without_stragglers(name: str, told: Answer) -> Answer:
    """How many pieces come before the end is chance: as many as were recorded are kept."""
    recorded = sum(4 if "<4 chunks" in one["text"] else 1 for one in ENTRIES[name]["response"]["chunks"])
    ends = [chunk for chunk in told.chunks or () if b'"error":"' in chunk or b'"model":""' in chunk]
    pieces = (told.chunks or [])[: len(told.chunks or ()) - len(ends)]
    assert all(b"text" in piece or b"response" in piece or b"content" in piece for piece in pieces)
    told.chunks = [*pieces[: recorded - len(ends)], *ends]
    return told


# -- the engine is killed --------------------------------------------------------------------------


@_scene("runner_killed_generate_stream", "runner_killed_chat_stream", "runner_killed_v1_chat_stream",
        "runner_killed_v1_responses_stream", "runner_killed_v1_messages_stream")  # fmt: skip
def _killed_in_a_stream(farm: Any, name: str) -> Answer:
    engine = engine_pid(farm)
    with asking(farm.back, request_of(name)) as wire:
        told = _begun(wire)
        os.kill(engine, signal.SIGKILL)
        return _without_stragglers(name, _rest(wire, told))


@_scene("runner_killed_generate_nonstream", "runner_killed_v1_chat_nonstream")
def _killed_in_a_whole_answer(farm: Any, name: str) -> Answer:
    """From outside nobody sees the first token come: a kill before it is told otherwise and tried again."""
    for _ in range(5):
        engine = engine_pid(farm)
        with asking(farm.back, request_of(name)) as wire:
            assert eventually(lambda: farm.engine["busy"] == 1)
            for _ in range(5):
                time.sleep(0.05)
            os.kill(engine, signal.SIGKILL)
            told = wire.answer("POST")
        if b"model runner has unexpectedly stopped" not in told.body:
            break
    return told


@_scene("runner_killed_in_prefill_stream", "runner_killed_embed")
def _killed_before_the_first_piece(farm: Any, name: str) -> Answer:
    engine = engine_pid(farm)
    os.kill(engine, signal.SIGSTOP)  # so that nothing can come before
    with asking(farm.back, request_of(name)) as wire:
        time.sleep(0.05)
        os.kill(engine, signal.SIGKILL)
        return wire.answer("POST")


@_scene("serve_sigterm_stream")
def _ended_in_a_stream(farm: Any, name: str) -> Answer:
    tools = sys.modules[type(farm).__module__]
    own = tools.start_farm("--num-parallel", "1")
    try:
        with asking(own.back, request_of(name)) as wire:
            told = _begun(wire)
            own.process.terminate()
            return _without_stragglers(name, _rest(wire, told))
    finally:
        tools.end_farm(own)


# -- servers of our own, without an engine ---------------------------------------------------------


@contextlib.contextmanager
def _serving(runner: Runner) -> Iterator[str]:
    """The adapter on a free port, on a loop of its own."""
    holder = socket.create_server(("127.0.0.1", 0))
    server = Server(OllamaApp(runner, 1_795_244_645_146_510_160), holder, dated=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.run_on_socket(),))
    thread.start()
    try:
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.cut)
        thread.join(10)
        loop.run_until_complete(runner.close())
        loop.close()
        holder.close()


@_scene("queue_full", "queue_full_v1", "queue_full_v1_messages")
def _queue_is_full(_farm: Any, name: str) -> Answer:
    runner = Runner(NOWHERE, 300.0)
    runner._leases = NOWHERE.slots + limits.WAITING_MAX
    with _serving(runner) as url:
        return ask(url, request_of(name))


def _with_engine(program: str, name: str) -> Answer:
    started = mock.patch.object(EnginePlan, "argv", lambda _plan, python: [python, "-c", program])
    with started, _serving(Runner(NOWHERE, 300.0)) as url:
        return ask(url, request_of(name))


@_scene("load_timeout")
def _engine_is_silent(_farm: Any, name: str) -> Answer:
    with mock.patch.object(limits, "ENGINE_START_S", 0.3):
        return _with_engine("import sys; sys.stdin.read()", name)


@_scene("runner_killed_while_loading")
def _engine_dies_while_it_loads(_farm: Any, name: str) -> Answer:
    return _with_engine("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", name)


# -- the client leaves by half ---------------------------------------------------------------------


@_scene("client_half_close_stream")
def _half_closed_in_a_stream(farm: Any, name: str) -> Answer:
    with asking(farm.back, request_of(name)) as wire:
        told = _begun(wire)
        wire.half_close()
        return _rest(wire, told)


@_scene("client_half_close_nonstream", "client_half_close_in_prefill")
def _half_closed_before_an_answer(farm: Any, name: str) -> Answer:
    engine = engine_pid(farm)
    os.kill(engine, signal.SIGSTOP)
    try:
        with asking(farm.back, request_of(name)) as wire:
            wire.half_close()
            assert wire.ended()
            return CUT
    finally:
        os.kill(engine, signal.SIGCONT)


@_scene("client_half_close_in_load")
def _half_closed_in_the_load(farm: Any, name: str) -> Answer:
    ask(farm.back, request_of("generate_unload"))
    with asking(farm.back, request_of(name)) as wire:
        wire.half_close()
        assert wire.ended()
        return CUT


@_scene("client_half_close_in_queue")
def _half_closed_in_the_queue(farm: Any, name: str) -> Answer:
    endless = request_of("client_half_close_stream", options={"num_predict": 5000, "temperature": 1})
    with contextlib.ExitStack() as stack:
        for _ in range(farm.engine["slots"]):
            _begun(stack.enter_context(asking(farm.back, endless)))
        with asking(farm.back, request_of(name)) as wire:
            wire.half_close()
            assert wire.ended()
            return CUT


# -- answers too long to be recorded whole ---------------------------------------------------------


@_scene("show_verbose")
def _shown_in_full(farm: Any, name: str) -> Answer:
    """The lists are looked at here and taken out: what is left was recorded as `show_ok`."""
    told = ask(farm.back, request_of(name))
    shown = json.loads(told.body)
    lists = {key: value for key, value in shown["model_info"].items() if isinstance(value, list)}
    assert {key: len(value) for key, value in lists.items() if key != "tokenizer.ggml.merges"} == {
        "general.languages": 1,
        "tokenizer.ggml.token_type": 49152,
        "tokenizer.ggml.tokens": 49152,
    }
    assert lists["tokenizer.ggml.token_type"][:6] == [3] * 6
    assert lists["tokenizer.ggml.tokens"][:2] == ["<|endoftext|>", "<|im_start|>"]
    assert all(isinstance(one, str) for one in lists["tokenizer.ggml.merges"])
    assert ENTRIES[name]["response"]["body"].count("<49152") == 2
    assert gojson.encode(shown) == told.body
    shown["model_info"] |= dict.fromkeys(lists)
    told.body = gojson.encode(shown)
    return told
