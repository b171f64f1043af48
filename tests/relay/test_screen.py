"""The screen of `--debug` on paper: it fits every terminal, and says what is so."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from desks import ALICE, NDJSON, Desk
from hypothesis import given
from hypothesis import strategies as st

from relay.runs import Glimpse
from relay.screen import Facts, Paces, Row, draw, fit, size, span

ADDRESS = "relay.8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
COUNTS: dict[str, Any] = {
    "running": 2, "waiting": 1, "ended_ok": 120, "ended_timeout": 3, "refused_denied": 1, "refused_busy": 1,
    "dropped_stranger": 3, "dropped_not_json": 5, "bytes_in": 900, "bytes_out": 12_300_000,
    "retained_b": 1_200, "nkn": {
        "sent": 81, "unsealed_dropped": 4, "sessions_dropped": 0,
        "parts": {"a": {"ready": True}, "b": {"ready": True}, "c": {"ready": False}},
    },
}  # fmt: skip


def row(tag: int = 7, **change: Any) -> Row:
    seen = {"peer": "8a88e3dd…", "path": "/api/chat", "state": "generating", "lines": 812, "since": 0.0}
    return Row(Glimpse(tag=tag, **(seen | change)), 41.26, 21.4)


def facts(**change: Any) -> Facts:
    some: dict[str, Any] = {"rows": [row()], "counts": COUNTS, "news": ["12:00:00 nkn      connected ws://a"]}
    return Facts(ADDRESS, "0.1.0", 3720.0, 4, **(some | change))


def columns(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def test_a_wide_one() -> None:
    assert draw(facts(), 90, 14) == [
        "relay 0.1.0 · up 1 h · NKN 2 up, 1 down".ljust(83) + "q quits",
        ADDRESS,
        "",
        "running 2 of 4 · waiting 1",
        "  tag peer      path" + " " * 37 + "state       lines lines/s    age",
        "    7 8a88e3dd… /api/chat" + " " * 32 + "generating    812    41.3   21 s",
        "",
        "answered 120 · failed 3 · refused 2 · sent 81 frames, 12.3 MB · got 900 B · kept 1.2 kB",
        "dropped 12: not_json 5, unsealed 4, stranger 3",
        "",
        "12:00:00 nkn      connected ws://a",
    ]


def test_forty_columns() -> None:
    assert draw(facts(), 40, 20) == [
        "relay 0.1.0 · up 1 h · NKN 2 up, 1 down",
        ADDRESS[:40],
        ADDRESS[40:],
        "",
        "running 2 of 4 · waiting 1",
        "  tag peer      state       lines    age",
        "    7 8a88e3dd… generating    812   21 s",
        "",
        "answered 120 · failed 3 · refused 2",
        "sent 81 frames, 12.3 MB · got 900 B",
        "kept 1.2 kB",
        "dropped 12: not_json 5, unsealed 4, str…",
        "",
        "12:00:00 nkn      connected ws://a",
    ]


def test_more_requests_than_rows_are_counted() -> None:
    lines = draw(facts(rows=[row(tag) for tag in range(1, 31)]), 80, 24)
    assert len(lines) <= 24
    [more] = [line for line in lines if line.startswith("… and ")]
    shown = sum("/api/chat" in line for line in lines)
    assert more == f"… and {30 - shown} more"
    assert any(line.startswith("dropped 12") for line in lines)


def test_the_newest_lines_get_what_is_left() -> None:
    lines = draw(facts(rows=[], news=[f"line {number}" for number in range(50)]), 80, 12)
    assert len(lines) == 12
    assert lines[-1] == "line 49"


def test_a_relay_that_has_just_begun() -> None:
    lines = draw(Facts(ADDRESS, "0.1.0", 0.0, 4), 80, 24)
    assert lines == [
        "relay 0.1.0 · up 0 s · NKN 0 up, 0 down".ljust(73) + "q quits",
        ADDRESS,
        "",
        "running 0 of 4 · waiting 0",
        "",
        "answered 0 · failed 0 · refused 0 · sent 0 frames, 0 B · got 0 B · kept 0 B",
        "dropped 0",
    ]


WORDS = st.text(max_size=60)


@given(
    width=st.integers(0, 200),
    height=st.integers(0, 60),
    rows=st.lists(st.builds(row, st.integers(0, 10**7), path=WORDS, peer=WORDS), max_size=40),
    news=st.lists(WORDS, max_size=40),
    address=WORDS,
)
def test_it_fits_any_terminal_and_obeys_nobody(
    width: int, height: int, rows: list[Row], news: list[str], address: str
) -> None:
    lines = draw(Facts(address, "1", 1.0, 4, rows, COUNTS, news), width, height)
    assert len(lines) <= max(1, height)
    for line in lines:
        assert columns(line) <= max(1, width), line
        assert all(char.isprintable() for char in line), line


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"),
     ("e\u0301e", 2, "e\u0301e"),     ("ab", 1, "…")],
)  # fmt: skip
def test_fit(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown


def test_spans_and_sizes() -> None:
    seconds = (-1, 0, 59.4, 59.9, 60, 3599, 3600, 86_399, 86_400, 400 * 86_400)
    wanted = ["0 s", "0 s", "59 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "400 d"]
    assert [span(one) for one in seconds] == wanted
    assert [size(one) for one in (0, 999, 1000, 2.5e6, 3e9)] == ["0 B", "999 B", "1.0 kB", "2.5 MB", "3.0 GB"]


def test_the_pace_is_that_of_the_last_seconds() -> None:
    paces = Paces()

    def seen(lines: int, now: float) -> float:
        [found] = paces.rows([Glimpse(1, "p", "/", "generating", lines, 90.0)], now)
        assert found.age_s == now - 90.0
        return found.rate

    assert seen(0, 100.0) == 0.0
    assert seen(10, 100.5) == 20.0
    assert seen(60, 101.0) == 60.0
    for number in range(20):
        last = seen(60, 101.5 + number / 2)
    assert last == 0.0
    assert paces.rows([], 120.0) == []
    assert seen(500, 121.0) == 0.0, "it was forgotten: a tag that comes back is another one"


def test_what_an_engine_shows_of_its_requests() -> None:
    desk = Desk(workers=1, per_peer=1)
    desk.ask("s3cretid", json={"model": "s3cret", "prompt": "s3cret"}, path="/api/chat?key=s3cret")
    desk.wait(1.0)
    desk.ask("second")
    first, second = desk.engine.running()
    assert (first.tag, first.path, first.state, first.lines, first.since) == (
        1,
        "/api/chat",
        "loading",
        0,
        100.0,
    )
    assert first.peer == f"{ALICE.hex()[:8]}…"
    assert (second.state, second.since) == ("queued", 101.0)
    desk.engine.head(1, 200, NDJSON, desk.now)
    desk.engine.data(1, b"{}\n{}\n", desk.now)
    assert (desk.engine.running()[0].state, desk.engine.running()[0].lines) == ("generating", 2)
    assert "s3cret" not in repr(desk.engine.running())
    desk.engine.eof(1, desk.now)
    assert desk.engine.running()[0].state == "ended"
    desk.engine.closed(1, desk.now)
    assert [one.tag for one in desk.engine.running()] == [2]


def test_as_many_requests_are_shown_as_there_is_room_for() -> None:
    used = len(draw(facts(rows=[], news=[]), 90, 50)) + 1  # and the line of names
    three = [row(1), row(2), row(3)]

    def shown(height: int) -> tuple[int, list[str]]:
        lines = draw(facts(rows=three, news=[]), 90, height)
        return sum("/api/chat" in line for line in lines), [line for line in lines if "more" in line]

    assert shown(used + 4) == (3, [])
    assert shown(used + 3) == (1, ["… and 2 more"])
    assert shown(used + 2) == (0, ["… and 3 more"])
    assert shown(used + 1) == (0, [])


def test_the_way_out_is_told_where_there_is_room_for_it() -> None:
    title = "relay 0.1.0 · up 1 h · NKN 2 up, 1 down"
    ends = {width: draw(facts(), width, 20)[0] for width in (47, 48, 49)}
    assert ends == {47: title, 48: f"{title}  q quits", 49: f"{title}   q quits"}


def test_words_share_a_line_up_to_its_last_column() -> None:
    said = "answered 120 · failed 3 · refused 2 · sent 81 frames, 12.3 MB"
    assert said in draw(facts(), len(said), 30)
    assert said not in draw(facts(), len(said) - 1, 30)


def test_wide_letters_and_marks_take_the_columns_that_they_take() -> None:
    assert [fit("日", 2), fit("日", 1), fit("ab日", 4), fit("XX", 2)] == ["日", "…", "ab日", "XX"]


def test_a_pace_is_of_at_least_the_last_seconds_whatever_lies_between() -> None:
    paces = Paces()

    def seen(lines: int, now: float) -> Row:
        [found] = paces.rows([Glimpse(1, "p", "/", "generating", lines, 90.0)], now)
        return found

    seen(0, 100.0)
    assert seen(10, 101.0).seen.lines == 10
    assert seen(30, 110.0).rate == pytest.approx(20 / 9)


def test_news_get_the_last_line_that_is_left() -> None:
    whole = draw(facts(rows=[], news=[]), 90, 50)
    for more, news in ((1, []), (2, ["", "last"]), (3, ["", "first", "last"])):
        lines = draw(facts(rows=[], news=["first", "last"]), 90, len(whole) + more)
        assert lines == [*whole, *news], more


@pytest.mark.parametrize(("width", "rows"), [(19, 1), (20, 4), (21, 4)])
def test_an_address_is_broken_where_there_is_room_for_a_part_of_it(width: int, rows: int) -> None:
    lines = draw(Facts(ADDRESS, "1", 0.0, 4), width, 30)
    assert len([line for line in lines if line.rstrip("…") and line.rstrip("…") in ADDRESS]) == rows


@pytest.mark.parametrize(("width", "shown"), [(63, False), (64, True)])
def test_a_column_is_shown_from_its_width_on(width: int, shown: bool) -> None:
    assert any("path" in line for line in draw(facts(), width, 30)) is shown


def test_a_size_is_exact_in_its_unit() -> None:
    assert [size(one) for one in (1e3, 1e6, 1e9)] == ["1.0 kB", "1.0 MB", "1.0 GB"]
