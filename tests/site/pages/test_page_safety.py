"""What a model says is shown and never runs; the page on small screens and by keyboard; a real Chromium."""

# ruff: noqa: E501, Q003 - the attacks are long lines

from __future__ import annotations

from typing import Any

import pytest

HTML = [
    "<script>window.ran=1</script>", "<img src=x onerror=window.ran=1>", "<svg onload=window.ran=1>",
    "<iframe src=javascript:window.ran=1></iframe>", "<body onload=window.ran=1>", "<a href=javascript:window.ran=1>x</a>",
    "<details open ontoggle=window.ran=1>", "<video><source onerror=window.ran=1></video>", "<input autofocus onfocus=window.ran=1>",
    "<form><button formaction=javascript:window.ran=1>x</button></form>", "<math><mtext></form><form><mglyph><style></math><img src onerror=window.ran=1>",
    "<style>@import 'https://evil.example/x.css';</style>", "<link rel=stylesheet href=https://evil.example/x>", "<meta http-equiv=refresh content='0;url=javascript:window.ran=1'>",
    "<object data=javascript:window.ran=1>", "<embed src=javascript:window.ran=1>", "<base href=https://evil.example/>", "<template><script>window.ran=1</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.ran=1>'>", "<svg><animate onbegin=window.ran=1 attributeName=x dur=1s>", "<svg><script>window.ran=1</script></svg>",
    "<svg><a xlink:href=javascript:window.ran=1><text y=9>x</text></a></svg>", "<marquee onstart=window.ran=1>x</marquee>", "<x onclick=window.ran=1>x</x>",
    "<audio src=x onerror=window.ran=1>", "<table background=javascript:window.ran=1>", "<div style=background:url(https://evil.example/)>x</div>", "<div data-x=1 id=messages>x</div>",
    "<img srcset=https://evil.example/x>", "<img/src=`x`onerror=window.ran=1>", "<<script>window.ran=1//<</script>", "<scr<script>ipt>window.ran=1</scr</script>ipt>",
    "<!--><img src=x onerror=window.ran=1>-->", "<![CDATA[<img src=x onerror=window.ran=1>]]>", "<?xml version=1?><img src=x onerror=window.ran=1>", "<IMG SRC=&#106;avascript:window.ran=1>",
    "<svg/onload=window.ran=1>", "<svg\nonload=window.ran=1>", "</li></ol><script>window.ran=1</script>", "<textarea></textarea><script>window.ran=1</script>",
]  # fmt: skip
MARKDOWN = [
    "[x](javascript:window.ran=1)", "[x](JaVaScRiPt:window.ran=1)", "[x](java\tscript:window.ran=1)", "[x](data:text/html,<script>window.ran=1</script>)",
    "![x](https://evil.example/track.png)", "![x](javascript:window.ran=1)", "[x]: javascript:window.ran=1\n\n[x]", "<javascript:window.ran=1>",
    "[x](vbscript:window.ran=1)", "[x](https://ok.example/\" onclick=window.ran=1)", "`<script>window.ran=1</script>`", "[<img src=x onerror=window.ran=1>](https://ok.example/)",
]  # fmt: skip
ALLOWED = {
    "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "del", "code", "pre", "blockquote", "ul",
    "ol", "li", "a", "table", "thead", "tbody", "tr", "th", "td", "sup", "sub",
}  # fmt: skip


@pytest.mark.parametrize("hostile", [HTML, MARKDOWN], ids=["html", "markdown"])
async def test_hostile_answers_are_only_shown(stage: Any, hostile: list[str]) -> None:
    outside: list[str] = []
    stage.page.on("request", lambda request: outside.append(request.url) if "evil" in request.url else None)
    stage.page.on("dialog", lambda dialog: outside.append(dialog.message))
    await stage.connect()
    stage.talker.answers = [[f"{text}\n\n"] for text in hostile]
    for text in hostile:
        await stage.say("x")
        shown = await stage.said()
        if hostile is HTML:
            assert "window.ran" not in text or "window.ran" in shown, text  # shown as text
    tags = await stage.page.evaluate(
        "[...new Set([...document.querySelectorAll('#messages .text *')].map((e) => e.localName))]"
    )
    assert set(tags) <= ALLOWED
    links = await stage.page.evaluate(
        "[...document.querySelectorAll('#messages .text a')].map((a) => a.protocol)"
    )
    assert set(links) <= {"https:", "http:", ":"}
    attributes = await stage.page.evaluate(
        "[...new Set([...document.querySelectorAll('#messages .text *')].flatMap((e) => e.getAttributeNames()))]"
    )
    assert set(attributes) <= {"href", "start", "align", "target", "rel"}
    assert await stage.page.evaluate("window.ran") is None
    assert outside == []


def test_there_are_fifty_of_them() -> None:
    assert len({*HTML, *MARKDOWN}) >= 50


@pytest.mark.viewport(360, 640)
async def test_a_phone_shows_both_tabs_without_scrolling_sideways(stage: Any) -> None:
    stage.talker.default = ["w" * 300, " | a | b |\n|---|---|\n| 1 | 2 |\n"]
    await stage.connect()
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await stage.page.evaluate(wide)
    await stage.say("hello")
    await stage.said()
    assert not await stage.page.evaluate(wide)
    assert await stage.page.is_visible("#send")


async def test_the_keyboard_reaches_everything(stage: Any) -> None:
    await stage.connect()
    await stage.page.focus("#tab-latency")
    await stage.page.keyboard.press("ArrowRight")
    assert await stage.page.is_visible("#chat")
    assert await stage.page.get_attribute("#tab-chat", "aria-selected") == "true"
    await stage.page.focus("#words")
    await stage.page.keyboard.type("one\n", delay=1)
    assert "Hello there." in await stage.said()
    unnamed = await stage.page.evaluate(
        """[...document.querySelectorAll('input, select, textarea, button')]
        .filter((e) => !e.labels?.length && !e.textContent.trim() && !e.getAttribute('aria-label')).map((e) => e.outerHTML)"""
    )
    assert unnamed == []


async def test_a_node_with_tls_works_as_well(stage: Any) -> None:
    await stage.connect(f"{stage.link}&tls=1")
    await stage.say("hello")
    assert await stage.said() == "Hello there."


async def test_a_relay_that_is_not_there_is_said(stage: Any) -> None:
    missing = stage.link.replace(stage.relay.address, f"relay.{'0' * 64}")
    await stage.page.goto(missing)
    await stage.page.wait_for_selector("#status[data-state=lost]", timeout=60_000)
    assert "Is the relay running there" in await stage.page.inner_text("#status")


async def test_a_relay_without_its_ollama_is_said_and_still_pinged(stage: Any) -> None:
    stage.talker.reachable = False
    await stage.connect()
    assert "no models" in await stage.page.inner_text("#status")
    await stage.page.click("#ping")
    await stage.page.wait_for_function(
        "() => /^[1-9]/.test(document.querySelector('#ping-figures').textContent)"
    )


async def test_a_relay_that_goes_is_said_and_found_again(stage: Any) -> None:
    await stage.connect()
    await stage.relay.__aexit__(None, None, None)
    await stage.page.evaluate("() => dispatchEvent(new Event('online'))")  # look at once
    await stage.page.wait_for_selector("#status[data-state=connecting]")
    assert "does not answer any more." in await stage.page.inner_text("#status")
    await stage.relay.__aenter__()
    await stage.page.wait_for_selector("#status[data-state=connected]", timeout=60_000)
    await stage.say("hello")
    assert await stage.said() == "Hello there."
