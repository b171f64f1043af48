"""Every recorded exchange is asked again and answered as the page says: the same, or differently as stated.

With OLLAMA_TEST_HOST the same requests must be answered the same by the real Ollama named there. It should
have nothing else to do: some of them unload its model or load it anew with another context.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import compat_page
import pytest
from compat_page import DIFFERENT, LISTED, SAME
from likeness import differences, events
from rawhttp import Answer, ask
from recorded import ENTRIES, request_of
from scenes import SCENES

UNLOADED = ["generate_unload"]
LOADED = ["generate_empty_prompt_load"]
BEFORE: dict[str, list[str]] = {
    "ps_empty": UNLOADED,
    "ps_after_unload": [*LOADED, *UNLOADED],
    "ps_loaded": LOADED,
    "generate_first_load_stream": UNLOADED,
    "generate_unload": LOADED,
    "generate_unload_not_loaded": UNLOADED,
    "generate_keep_alive_0_with_prompt": UNLOADED,
    "chat_unload": LOADED,
}
"""Exchange → those that bring about the state it was recorded in."""
NOT_ASKED_OF_A_REAL_ONE = frozenset({"blob_post_mismatch"})
"""It would write to that one's disk."""
SETTLED_S = 5.0
"""A real Ollama unloads some time after it has said so."""
AS = {"show_verbose": "show_ok"}
"""What the scene has looked at itself is not in its answer any more."""
PLAIN = [name for name in SAME if name not in SCENES]


def asked_again(url: str, name: str) -> Answer:
    for before in BEFORE.get(name, ()):
        ask(url, request_of(before))
    answer = ask(url, request_of(name))
    end = time.monotonic() + SETTLED_S
    while name.startswith("ps_") and differences(name, answer) and time.monotonic() < end:
        time.sleep(0.02)
        answer = ask(url, request_of(name))
    return answer


# -- the page --------------------------------------------------------------------------------------


def test_the_page_lists_every_recorded_exchange_once() -> None:
    assert sorted(name for name, _ in LISTED) == sorted(ENTRIES)


def test_the_page_explains_every_difference_once() -> None:
    differs = [name for name, verdict in LISTED if verdict == "differs"]
    assert sorted(DIFFERENT) == sorted(differs)
    explained = compat_page.TEXT.partition("## Every exchange")[0]
    assert [name for name in differs if explained.count(f"| `{name}` |") != 1] == []


def test_the_page_tells_what_the_real_one_said() -> None:
    assert {name: stated.theirs for name, stated in DIFFERENT.items()} == {
        name: ENTRIES[name]["response"]["status"] for name in DIFFERENT
    }


def test_the_page_counts_right() -> None:
    counts = re.search(r"(\d+) exchanges recorded.*?(\d+) of them.*?(\d+) otherwise", compat_page.TEXT)
    assert counts is not None
    assert [int(count) for count in counts.groups()] == [len(ENTRIES), len(SAME), len(DIFFERENT)]


def test_every_scene_is_an_exchange() -> None:
    assert set(SCENES) <= set(ENTRIES)


# -- the same --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_the_same(host: str, name: str, which: str) -> None:
    if which == "ollama" and name in NOT_ASKED_OF_A_REAL_ONE:
        pytest.skip("it would write to the disk of the real one")
    answer = asked_again(host, name)
    assert differences(name, answer) == []
    for check in MORE.get(name, ()):
        check(answer)


@pytest.mark.engine
@pytest.mark.parametrize("name", [name for name in SAME if name in SCENES])
def test_the_same_in_its_scene(farm: Any, name: str) -> None:
    assert differences(AS.get(name, name), SCENES[name](farm, name)) == []


def _texts(answer: Answer) -> list[str]:
    return [events(chunk.decode())[0].get("response", "") for chunk in answer.chunks or ()]


def _whole_characters(answer: Answer) -> None:
    # Several tokens each, a chunk each.
    assert {"😀", "漢"} <= set(_texts(answer))


def _as_many_chunks_as_tokens(answer: Answer) -> None:
    last = events((answer.chunks or [b""])[-1].decode())[0]
    assert len(answer.chunks or ()) - 1 == last["eval_count"] == 6


MORE: dict[str, list[Callable[[Answer], None]]] = {
    "generate_multibyte": [_whole_characters],
    "generate_first_load_stream": [_as_many_chunks_as_tokens],
    "generate_stream": [_as_many_chunks_as_tokens],
    "chat_stream": [_as_many_chunks_as_tokens],
}
"""What is to be seen of an exchange beyond its form."""


def test_what_may_begin_a_stop_text_is_held_back(host: str) -> None:
    # As in `generate_stop_buffering`, with a schema that leaves the model no other words.
    told = {"type": "object", "properties": {"e": {"const": "the sum of all numbers"}}, "required": ["e"]}
    options = {"num_predict": 40, "temperature": 0, "stop": [" sum of all zebras"]}
    answer = ask(host, request_of("generate_stop_buffering", format=told, options=options))
    texts = _texts(answer)
    assert " sum of all numbers" in texts  # four tokens


# -- through the proxy -----------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize(
    "name",
    ["generate_stream", "chat_stream", "v1_chat_stream_usage", "v1_completions_stream_usage",
     "v1_responses_stream", "v1_messages_stream", "generate_nonstream", "generate_format_bad_schema",
     "show_ok", "v1_models", "method_put_chat", "trailing_slash"],
)  # fmt: skip
def test_the_proxy_in_front_changes_nothing(farm: Any, name: str) -> None:
    answer = ask(farm.url, request_of(name))
    # Its own: a note for web servers in front of it, and it speaks for its own connection only.
    answer.headers = [pair for pair in answer.headers if pair != ("x-accel-buffering", "no")]
    if ENTRIES[name]["response"]["headers"].get("connection") == "keep-alive":
        answer.headers.append(("connection", "keep-alive"))
    assert differences(name, answer) == []


# -- different -------------------------------------------------------------------------------------


@pytest.mark.engine
@pytest.mark.parametrize("name", DIFFERENT)
def test_different_as_stated(farm: Any, name: str) -> None:
    stated = DIFFERENT[name]
    answer = SCENES[name](farm, name) if name in SCENES else ask(farm.back, request_of(name))
    if stated.status is None:
        assert answer.end == "eof"
        assert answer.status in {0, 200}
        return
    assert answer.status == stated.status
    assert stated.words in answer.body.decode()
    assert differences(name, answer) != []
