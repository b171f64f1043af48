"""farm.api.words and native: the sentences of Ollama that no recording of ours brings about."""

from __future__ import annotations

import json

from farm.api import words
from farm.embedded.ask import Ask
from farm.embedded.native import NativeVoice
from farm.embedded.template import Turn


def test_refusals_are_worded_as_ollama_words_them() -> None:
    assert (words.input_too_long().status, words.input_too_long().text) == (
        400,
        "the input length exceeds the context length",
    )
    assert words.input_too_long(500).status == 500
    lost = words.embedding_lost("http://127.0.0.1:7", 400)
    assert (lost.status, lost.text) == (400, 'do embedding request: Post "http://127.0.0.1:7/embedding": EOF')
    assert words.busy().status == 503
    assert words.busy().text == "server busy, please try again.  maximum pending requests exceeded"
    assert words.runner_stopped().status == 500
    assert words.runner_stopped().text.startswith("model runner has unexpectedly stopped")


def test_a_rendered_prompt_comes_instead_of_an_answer() -> None:
    told = json.loads(NativeVoice(Ask("chat", "m")).rendered("<prompt>", "then"))
    assert told["_debug_info"] == {"rendered_template": "<prompt>"}
    assert told["done"] is False
    shown = json.loads(
        NativeVoice(Ask("chat", "m", turns=(Turn("user", "x", 2),))).rendered("<prompt>", "then")
    )
    assert shown["_debug_info"] == {"rendered_template": "<prompt>", "image_count": 2}
