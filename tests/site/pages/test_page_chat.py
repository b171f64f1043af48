"""The chat tab, in a real Chromium."""

# ruff: noqa: E501 - the pages' own expressions

from __future__ import annotations

import asyncio
import base64
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

POEM = [f"wörd{n} " for n in range(120)]


async def test_an_answer_streams_as_markdown(stage: Any) -> None:
    stage.talker.default = [
        "Some **bo",
        "ld** words\n\n",
        "- one\n- two\n\n```py\nprint(1)\n```\n",
        "[a](https://x.example/)",
    ]
    await stage.connect()
    await stage.say("hello")
    assert "Some bold words" in await stage.said()
    inside = "#messages li.assistant"
    assert await stage.page.inner_text(f"{inside} strong") == "bold"
    assert await stage.page.locator(f"{inside} li").count() == 2
    assert await stage.page.inner_text(f"{inside} pre code") == "print(1)\n"
    assert await stage.page.get_attribute(f"{inside} a", "rel") == "noopener noreferrer nofollow"
    assert stage.talker.asked[0]["messages"] == [{"role": "user", "content": "hello"}]


async def test_stop_frees_the_upstream(stage: Any) -> None:
    stage.talker.default, stage.talker.hold_at = POEM, 9
    await stage.connect()
    await stage.say("go on for ever")
    await stage.page.wait_for_function(
        "() => /wörd8/.test(document.querySelector('#messages li.assistant')?.textContent)"
    )
    await stage.page.click("#stop")
    await stage.until(lambda: stage.talker.left == 1)
    assert "Stopped." in await stage.page.inner_text("#messages li.assistant")


async def test_a_reload_restores_the_history(stage: Any) -> None:
    await stage.connect()
    await stage.say("remember me")
    assert await stage.said() == "Hello there."
    await asyncio.sleep(0.5)  # it is written down a moment later
    await stage.page.reload()
    await stage.page.click("#tab-chat")
    assert "remember me" in await stage.page.inner_text("#messages li.user")
    assert "Hello there." in await stage.page.inner_text("#messages li.assistant")
    await stage.page.click("#delete-all")
    await stage.page.reload()
    await stage.page.click("#tab-chat")
    assert await stage.page.locator("#messages li").count() == 0


async def test_a_reload_in_mid_stream_goes_on_where_it_was(stage: Any) -> None:
    stage.talker.default, stage.talker.hold_at = POEM, 60
    await stage.connect()
    await stage.say("a poem")
    await stage.page.wait_for_function(
        "() => /wörd59/.test(document.querySelector('#messages li.assistant')?.textContent)"
    )
    await stage.page.reload()
    await stage.page.wait_for_selector("#status[data-state=connected]")
    await stage.page.click("#tab-chat")
    stage.talker.go.set()
    assert await stage.said() == "".join(POEM).strip()
    assert len(stage.talker.asked) == 1  # nothing was executed twice


async def test_a_network_cut_for_five_seconds_loses_no_word(stage: Any) -> None:
    stage.talker.default, stage.talker.gap_s = POEM, 0.05
    await stage.connect()
    await stage.say("a poem")
    await stage.page.wait_for_function(
        "() => /wörd20/.test(document.querySelector('#messages li.assistant')?.textContent)"
    )
    await stage.node.__aexit__(None, None, None)
    await asyncio.sleep(5)
    await stage.node.__aenter__()
    assert await stage.said() == "".join(POEM).strip()
    assert len(stage.talker.asked) == 1


@pytest.mark.parametrize("loss", [0.1, 0.25])
async def test_loss_and_jitter_change_no_word(stage: Any, loss: float) -> None:
    stage.talker.default = POEM
    await stage.connect()
    stage.node.faults = replace(stage.node.faults, loss=loss, delay_ms=30, jitter_ms=25, duplicate=0.05)
    await stage.say("a poem")
    assert await stage.said() == "".join(POEM).strip()
    assert len(stage.talker.asked) == 1


async def test_conversations_stream_at_once(stage: Any) -> None:
    stage.talker.answers = [["first ", "one"], ["second ", "one"]]
    stage.talker.hold_at = 1
    await stage.connect()
    await stage.say("a")
    await stage.until(lambda: stage.talker.running == 1)
    await stage.page.click("#new-chat")
    await stage.say("b")
    await stage.until(lambda: stage.talker.running == 2)
    stage.talker.go.set()
    assert await stage.said() == "second one"
    await stage.page.click("#chats li:nth-child(2) button")
    assert await stage.said() == "first one"


@pytest.mark.relay_env(RELAY_WORKERS="1", RELAY_PEER_STREAMS="1", RELAY_KEEPALIVE_S="0.3")
async def test_a_person_sees_why_nothing_comes(stage: Any) -> None:
    stage.talker.hold_first = True
    await stage.connect()
    await stage.say("a")
    await stage.page.wait_for_function(
        "() => /loading the model, \\d+ s/.test(document.querySelector('#messages li.assistant .note').textContent)"
    )
    await stage.page.click("#new-chat")
    await stage.say("b")
    await stage.page.wait_for_function(
        "() => /waiting, 1st in line/.test(document.querySelector('#messages li.assistant .note').textContent)"
    )
    stage.talker.go.set()
    assert await stage.said() == "Hello there."


async def test_retry_asks_again_without_the_old_answer(stage: Any) -> None:
    stage.talker.answers = [["bad"], ["good"]]
    await stage.connect()
    await stage.say("a")
    assert await stage.said() == "bad"
    await stage.page.click("#messages li.assistant .tools button:nth-child(2)")
    await stage.until(lambda: len(stage.talker.asked) == 2)
    assert await stage.said() == "good"
    assert stage.talker.asked[1]["messages"] == [{"role": "user", "content": "a"}]
    assert await stage.page.locator("#messages li").count() == 2


async def test_thoughts_stand_apart_and_are_not_sent_back(stage: Any) -> None:
    stage.talker.answers = [[{"thinking": "He wants "}, {"thinking": "a greeting."}, "Hello."], ["Bye."]]
    await stage.connect()
    await stage.say("a")
    assert await stage.said() == "Hello."
    await stage.page.click("#messages .thoughts summary")
    assert "He wants a greeting." in await stage.page.inner_text("#messages .thoughts")
    assert "9 tokens, 90.0/s" in await stage.page.inner_text("#messages li.assistant .note")
    await stage.say("b")
    await stage.until(lambda: len(stage.talker.asked) == 2)
    assert stage.talker.asked[1]["messages"][1] == {"role": "assistant", "content": "Hello."}


async def test_one_conversation_is_deleted_and_its_answer_ends(stage: Any) -> None:
    stage.talker.hold_at = 1
    await stage.connect()
    await stage.say("first")
    await stage.until(lambda: stage.talker.running == 1)
    await stage.page.click("#new-chat")
    await stage.page.click('#chats [aria-label="Delete “first”"]')
    await stage.until(lambda: stage.talker.left == 1)
    await stage.page.reload()
    await stage.page.click("#tab-chat")
    assert "first" not in await stage.page.inner_text("#chats")


async def test_system_prompt_and_options_are_sent(stage: Any) -> None:
    await stage.connect()
    await stage.page.click("#tab-chat")
    await stage.page.click(".talk summary")
    await stage.page.fill("#system", "Be brief.")
    await stage.page.fill("#temperature", "0.5")
    await stage.page.fill("#predict", "64")
    await stage.page.select_option("#chat-model", "n:2")
    await stage.say("a")
    await stage.said()
    asked = stage.talker.asked[0]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (asked["options"], asked["model"]) == ({"temperature": 0.5, "num_predict": 64}, "n:2")


def picture(side: int) -> bytes:
    """A PNG of noise, which packs badly."""
    import random

    dice = random.Random(1)
    rows = b"".join(b"\0" + dice.randbytes(3 * side) for _ in range(side))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


async def test_a_picture_is_made_small_enough_for_one_message(stage: Any, tmp_path: Path) -> None:
    file = tmp_path / "big.png"
    file.write_bytes(picture(1800))
    assert file.stat().st_size > 9_000_000
    await stage.connect()
    await stage.page.click("#tab-chat")
    await stage.page.set_input_files("#picture", file)
    await stage.page.wait_for_selector("#pictures img")
    await stage.say("what is this?")
    await stage.said()
    (image,) = stage.talker.asked[0]["messages"][0]["images"]
    assert len(image) <= 2_500_000
    assert base64.b64decode(image).startswith(b"\xff\xd8\xff")
