"""Frames that were sent: found again by their numbers, bounded, forgotten in time."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.retained import Retained
from wire import limits

A, B, C = (bytes([number]) * 32 for number in (1, 2, 3))
FRAME = limits.RETAIN_FRAME_B
STREAM = limits.RETAIN_STREAM_B


def stream(retained: Retained, name: tuple[bytes, object], *widths: int, end: bool = True) -> list[str]:
    """Keep begin, frames of so many lines each, and the end; their texts."""
    texts, seq = ["begin"], 0
    retained.keep(name, 0, 0, "begin")
    for width in widths:
        texts.append(f"lines {seq + 1} to {seq + width}")
        retained.keep(name, seq + 1, seq + width, texts[-1])
        seq += width
    if end:
        texts.append("end")
        retained.keep(name, -1, -1, "end")
    return texts


def settle(retained: Retained) -> int:
    """What the parts say they take together."""
    streams = [one for peer in retained._peers.values() for one in peer.streams.values()]
    frames = [frame for one in streams for frame in one.frames[one.dropped :]]
    return sum(len(frame.data) + FRAME for frame in frames) + len(streams) * STREAM


# -- found again --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found", "gone"),
    [
        ([0], [0], []),
        ([-1], [4], []),
        ([1], [1], []),
        ([2], [2], []),
        ([4], [2], []),
        ([5], [3], []),
        ([3, 2, 4, 2], [2], []),
        ([-1, 5, 0], [0, 3, 4], []),
        ([6, 7, 1, 2**53 - 1], [1], [6, 7, 2**53 - 1]),
        ([], [], []),
    ],
)
def test_a_number_finds_the_frame_that_holds_it(wanted, found, gone):
    retained = Retained()
    texts = stream(retained, (A, "i"), 1, 3, 1)
    assert retained.again((A, "i"), wanted, 10.0) == ([texts[index] for index in found], gone)


@pytest.mark.parametrize(
    ("have", "found"),
    [
        (-1, [0, 1, 2, 3, 4]),
        (0, [0, 1, 2, 3, 4]),
        (1, [0, 2, 3, 4]),
        (2, [0, 2, 3, 4]),
        (4, [0, 3, 4]),
        (5, [0, 4]),
        (99, [0, 4]),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_after_a_number_comes_everything_behind_it_with_begin_and_end(have, found, ended):
    retained = Retained()
    texts = stream(retained, (A, "i"), 1, 3, 1, end=ended)
    assert retained.after((A, "i"), have, 10.0) == [texts[index] for index in found if index < len(texts)]


def test_streams_of_others_and_unknown_ones_are_apart():
    retained = Retained()
    stream(retained, (A, "i"), 1)
    for name in ((B, "i"), (A, "j"), (A, 1), (A, None)):
        assert retained.again(name, [0, 1, -1], 10.0) == ([], [0, 1, -1])
        assert retained.after(name, 0, 10.0) == []
        assert not retained.knows(name)
    assert retained.knows((A, "i"))


def test_a_frame_is_sent_again_once_in_a_while():
    retained = Retained()
    texts = stream(retained, (A, "i"), 1, 1)
    assert retained.again((A, "i"), [1], 10.0) == ([texts[1]], [])
    assert retained.again((A, "i"), [1], 10.2) == ([], [])
    assert retained.after((A, "i"), 0, 10.2) == [texts[0], texts[2], texts[3]]
    assert retained.after((A, "i"), 0, 10.0 + limits.AGAIN_PAUSE_S) == [texts[1]]


def test_text_comes_back_as_it_was():
    retained = Retained()
    text = 'é \U0001f600 \u2028 "\\ud800"'
    retained.keep((A, "i"), 1, 1, text)
    assert retained.again((A, "i"), [1], 10.0) == ([text], [])


# -- bounds -------------------------------------------------------------------------------------


def test_of_one_peer_the_oldest_go_first():
    retained = Retained(peer_b=2 * STREAM + 4 * (FRAME + 10))
    for number in range(3):
        retained.keep((A, "old"), number, number, "x" * 10)
    retained.keep((A, "new"), 0, 0, "y" * 10)
    assert retained.dropped == 0
    retained.keep((A, "new"), 1, 1, "y" * 10)
    assert retained.again((A, "old"), [0, 1, 2], 10.0) == (["x" * 10] * 2, [0])
    for number in (2, 3):
        retained.keep((A, "new"), number, number, "y" * 10)
    assert retained.again((A, "new"), [0, 1, 2, 3], 10.0) == (["y" * 10] * 4, [])
    assert (retained.knows((A, "old")), retained.dropped) == (False, 3)
    assert retained.size == settle(retained)


@pytest.mark.parametrize("dropped", range(11))
def test_of_what_is_left_everything_is_found_and_nothing_of_what_went(dropped):
    retained = Retained(peer_b=STREAM + (11 - dropped) * (FRAME + 2))
    texts = [f"{seq:02}" for seq in range(11)]
    for seq, text in enumerate(texts):
        retained.keep((A, "i"), seq, seq, text)
    left = texts[dropped:]
    for seq in range(-1, 12):
        behind = [text for text in left if int(text) > seq]
        begin = left[:1] if seq >= 0 and not dropped else []
        assert retained.after((A, "i"), seq, 100.0 * seq + 1000.0) == begin + behind
    assert retained.again((A, "i"), range(12), 9000.0) == (left, [*range(dropped), 11])
    retained.forget((A, "i"))
    assert (retained.size, retained.dropped) == (0, dropped)


def test_a_frame_that_fits_nobodys_share_is_not_kept():
    retained = Retained(peer_b=STREAM + 100)
    retained.keep((A, "i"), 1, 1, "x" * 101)
    assert (retained.knows((A, "i")), retained.size, retained.dropped) == (False, 0, 1)
    retained.ended((A, "i"), 10.0)
    assert retained.due_at() is None


def test_the_largest_message_there_is_can_be_kept():
    retained = Retained()
    retained.keep((A, "i"), -1, -1, "x" * limits.FRAME_MAX_B)
    assert retained.knows((A, "i"))
    assert limits.RETAIN_ALL_B > limits.RETAIN_PEER_B


def test_a_stream_that_lost_all_its_frames_goes_on():
    retained = Retained(peer_b=STREAM + FRAME + 1000)
    stream(retained, (A, "i"), 1, end=False)
    retained.keep((A, "j"), 0, 0, "y" * 900)
    assert not retained.knows((A, "i"))
    retained = Retained(peer_b=2 * STREAM + 3 * FRAME)
    retained.keep((A, "i"), 5, 5, "five")
    retained.keep((A, "i"), -1, -1, "end")
    assert retained.after((A, "i"), 0, 10.0) == ["five", "end"]
    assert retained.again((A, "i"), [0, 4], 10.0) == ([], [0, 4])


@pytest.mark.parametrize("crowd", [3, 40])
def test_a_crowd_that_fills_everything_pushes_out_its_own(crowd):
    retained = Retained(peer_b=100_000, all_b=150_000)
    small = stream(retained, (A, "i"), *[1] * 5)
    for number in range(crowd * 50):
        key = bytes([10 + number % crowd]) * 32
        retained.keep((key, "big"), number, number, "x" * 1000)
        assert retained.size <= 150_000
    assert retained.after((A, "i"), 0, 10.0) == small
    assert retained.dropped > 0
    assert retained.size == settle(retained)


def test_each_of_a_crowd_of_equals_keeps_its_last_frames():
    retained = Retained(peer_b=100_000, all_b=100_000)
    for number in range(1000):
        retained.keep((bytes([number % 10]) * 32, "i"), number, number, "x" * 500)
    for number in range(990, 1000):
        assert retained.again((bytes([number % 10]) * 32, "i"), [number], 10.0)[0] == ["x" * 500]


def test_many_tiny_streams_are_counted_for_what_they_take():
    retained = Retained()
    for number in range(20_000):
        retained.keep((A, number), -1, -1, "x")
        retained.ended((A, number), 10.0)
    assert retained.size <= limits.RETAIN_PEER_B
    assert len(retained._ending) == len(retained._peers[A].streams) <= limits.RETAIN_PEER_B // STREAM


@pytest.mark.parametrize(
    ("keys", "streams", "frames", "text"),
    [(1, 1, 2000, "x" * 100), (1, 500, 2, "x" * 100), (500, 1, 1, "x"), (1, 1, 500, "x" * 99 + "\U0001f600")],
    ids=["small frames", "small streams", "many peers", "one wide character"],
)
def test_the_memory_that_is_taken_is_the_memory_that_is_counted(keys, streams, frames, text):
    names = [
        (bytes([key % 256, key // 256]) * 16, f"{one:032x}") for key in range(keys) for one in range(streams)
    ]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    retained = Retained()
    for name in names:
        for seq in range(1000, 1000 + frames):
            retained.keep(name, seq, seq, text)
        retained.ended(name, 10.0 + seq)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / retained.size < 1.1


def test_finding_frames_does_not_take_longer_the_more_there_are():
    def looked_at(frames: int) -> int:
        """Frames whose number is looked at to find a few."""
        retained = Retained(peer_b=10**9, all_b=10**9)
        for seq in range(1, frames):
            retained.keep((A, "i"), seq, seq, "x")
        seen = 0

        class Counting(type(retained._stream((A, "i")).frames)):  # type: ignore[misc]
            def __getitem__(self, index: int) -> object:
                nonlocal seen
                seen += 1
                return super().__getitem__(index)

        one = retained._stream((A, "i"))
        one.frames = Counting(one.frames)
        retained.again((A, "i"), range(1, frames, frames // 10), 10.0)
        return seen

    assert looked_at(20_000) < 3 * looked_at(200)


# -- what is sent again is bounded ------------------------------------------------------------------


def ask(retained: Retained, name: tuple[bytes, object], start: float, seconds: float) -> int:
    """Bytes that come when everything is asked for all the time."""
    got, now = 0, start
    while now < start + seconds:
        got += sum(map(len, retained.after(name, 0, now)))
        now += 0.05
    return got


def test_one_peer_is_sent_no_more_than_its_share():
    retained = Retained()
    for seq in range(1, 200):
        retained.keep((A, "i"), seq, seq, "x" * 20_000)
    allowed = limits.AGAIN_PEER_B + 10 * limits.AGAIN_PEER_B_PER_S
    assert 0.9 * allowed < ask(retained, (A, "i"), 1.0, 10.0) < allowed + 21_024
    assert retained.cut_short > 0


def test_all_peers_together_are_sent_no_more_than_theirs():
    retained = Retained()
    keys = [bytes([number]) * 32 for number in range(1, 13)]
    for key in keys:
        for seq in range(1, 190):
            retained.keep((key, "i"), seq, seq, "x" * 20_000)
    got = 0
    for step in range(100):
        got += sum(sum(map(len, retained.after((key, "i"), 0, 1.0 + step / 10))) for key in keys)
    allowed = limits.AGAIN_ALL_B + 10 * limits.AGAIN_ALL_B_PER_S
    assert 0.8 * allowed < got < allowed + 12 * 21_024


def test_a_frame_beyond_any_share_is_sent_and_paid_off():
    retained = Retained()
    retained.keep((A, "i"), -1, -1, "x" * 3_900_000)
    assert len(retained.after((A, "i"), 0, 10.0)) == 1
    debt = (3_900_000 + limits.AGAIN_FRAME_B - limits.AGAIN_PEER_B) / limits.AGAIN_PEER_B_PER_S
    assert retained.again((A, "i"), [-1], 10.0 + debt - 0.01) == ([], [])
    assert len(retained.after((A, "i"), 0, 10.0 + debt + 0.01)) == 1


def test_what_is_cut_short_still_has_its_end_and_goes_on_where_it_stopped():
    retained = Retained()
    for seq in range(1, 100):
        retained.keep((A, "i"), seq, seq, f"{seq:<40000}")
    retained.keep((A, "i"), -1, -1, "end")
    first = retained.after((A, "i"), 0, 10.0)
    assert first[-1] == "end"
    assert [int(text) for text in first[:-1]] == list(range(1, len(first)))
    assert 20 < len(first) < 40
    assert retained.after((A, "i"), len(first) - 1, 10.0) == [], (
        "not even the end, when there is nothing left"
    )
    later = retained.after((A, "i"), len(first) - 1, 11.0)
    assert int(later[0]) == len(first)
    assert later[-1] == "end"


def test_whoever_owes_gets_not_even_an_end():
    retained = Retained()
    retained.keep((A, "i"), 1, 1, "x" * 3_900_000)
    retained.keep((A, "i"), -1, -1, "end")
    assert retained.after((A, "i"), 0, 10.0)[1:] == ["end"]
    assert retained.after((A, "i"), 1, 11.0) == []
    assert retained.after((A, "i"), 1, 20.0) == ["end"]


def test_who_asks_seldom_has_the_whole_share_and_no_more():
    retained = Retained()
    for seq in range(1, 200):
        retained.keep((A, "i"), seq, seq, "x" * 20_000)
    for now in (10.0, 1000.0, 100_000.0):
        got = sum(map(len, retained.after((A, "i"), 0, now)))
        assert limits.AGAIN_PEER_B * 0.9 < got < limits.AGAIN_PEER_B + 21_024


# -- forgotten in time --------------------------------------------------------------------------


def test_frames_are_forgotten_some_time_after_the_end_of_their_stream():
    retained = Retained()
    stream(retained, (A, "i"), 1)
    stream(retained, (A, "j"), 1, end=False)
    stream(retained, (B, "i"), 1)
    assert retained.due_at() is None
    retained.ended((A, "i"), 10.0)
    retained.ended((B, "i"), 11.0)
    assert retained.due_at() == 10.0 + limits.RETAIN_S
    retained.advance(10.0 + limits.RETAIN_S - 0.001)
    assert retained.knows((A, "i"))
    retained.advance(10.0 + limits.RETAIN_S)
    assert [retained.knows(name) for name in ((A, "i"), (A, "j"), (B, "i"))] == [False, True, True]
    assert retained.due_at() == 11.0 + limits.RETAIN_S
    retained.advance(1000.0)
    assert (retained.due_at(), retained.knows((A, "j"))) == (None, True)
    retained.forget((A, "j"))
    retained.forget((A, "j"))
    assert (retained.size, retained._peers, retained._ending) == (0, {}, {})


def test_an_id_that_is_used_anew_is_not_forgotten_with_the_first():
    retained = Retained()
    stream(retained, (A, "i"), 1)
    retained.ended((A, "i"), 10.0)
    retained.forget((A, "i"))
    stream(retained, (A, "i"), 1)
    retained.advance(1000.0)
    assert retained.knows((A, "i"))
    retained.ended((A, "i"), 1000.0)
    assert retained.due_at() == 1000.0 + limits.RETAIN_S


def test_statistics():
    retained = Retained(peer_b=STREAM + FRAME + 5)
    stream(retained, (A, "i"))
    assert retained.statistics() == {
        "retained_b": STREAM + FRAME + 3,
        "retained_dropped": 1,
        "again_cut_short": 0,
    }


# -- promises -----------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "end", "again", "after", "forget", "advance"]),
        st.sampled_from([A, B, C]),
        st.integers(0, 3),
        st.integers(1, 700),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_the_sums_are_right_the_bounds_hold_and_nothing_is_made_up(steps):
    retained = Retained(peer_b=6000, all_b=11_000)
    now, sent, last = 1.0, {}, {}
    for what, key, identifier, number in steps:
        name = (key, identifier)
        now += number / 100
        if what == "keep":
            seq = last[name] = last.get(name, 0) + 1
            sent[name, seq] = f"{seq}" + "x" * number
            retained.keep(name, seq, seq, sent[name, seq])
        elif what == "end":
            retained.ended(name, now)
        elif what == "again":
            texts, gone = retained.again(name, range(1, 9), now)
            known = {sent.get((name, seq)) for seq in range(1, 9)} - {None}
            assert set(texts) <= known
            assert {sent.get((name, seq)) for seq in gone}.isdisjoint(texts)
        elif what == "after":
            texts = retained.after(name, number % 9, now)
            assert texts == [
                sent[name, seq] for seq in sorted(range(1, last.get(name, 0) + 1)) if sent[name, seq] in texts
            ]
        elif what == "forget":
            retained.forget(name)
            assert not retained.knows(name)
        else:
            retained.advance(now)
            due = retained.due_at()
            assert due is None or due > now
        assert retained.size == settle(retained) == sum(peer.size for peer in retained._peers.values())
        assert retained.size <= 11_000
        assert all(0 < peer.size <= 6000 for peer in retained._peers.values())
        assert all(one.frames for peer in retained._peers.values() for one in peer.streams.values())
        assert all(retained.knows(one) for one in retained._ending)
        assert list(retained._ending.values()) == sorted(retained._ending.values())


def test_what_is_cut_short_is_counted_each_time_and_nothing_behind_it_is_sent():
    retained = Retained()
    retained.keep((A, "i"), 1, 1, "x" * 3_900_000)
    retained.keep((A, "i"), 2, 2, "two")
    retained.keep((A, "i"), 3, 3, "three")
    for times in (1, 2):
        retained.again((A, "i"), [1], 1000.0 * times)
        assert retained.again((A, "i"), [2, 3], 1000.0 * times + 0.1) == ([], [])
        assert retained.cut_short == times


def test_the_biggest_peers_make_room_for_a_sixteenth_and_keep_their_share():
    each = FRAME + 1000
    retained = Retained(peer_b=10**9, all_b=32 * each + 3 * STREAM)
    for number, (key, count) in enumerate(((B, 6), (A, 18), (C, 8))):
        for seq in range(count):
            retained.keep((key, "i"), 100 * number + seq, 100 * number + seq, "x" * 1000)
    assert retained.dropped == 0, "as much as there is room for"
    retained.keep((C, "i"), 300, 300, "x" * 1000)
    sizes = {key: len(retained.again((key, "i"), range(400), 10.0)[0]) for key in (A, B, C)}
    assert sizes == {A: 14, B: 6, C: 9}
    assert retained.size <= 32 * each + 3 * STREAM - (32 * each + 3 * STREAM) // 16


def test_of_two_that_hold_most_none_is_left_with_less_than_a_share():
    each = FRAME + 1000
    retained = Retained(peer_b=10**9, all_b=160 * each + 2 * STREAM)
    for seq in range(80):
        retained.keep((A, "i"), seq, seq, "x" * 1000)
        retained.keep((B, "i"), seq, seq, "x" * 1000)
    retained.keep((A, "j"), 0, 0, "y" * 30_000)
    streams = {key: len(retained._stream((key, "i")).frames) for key in (A, B)}
    dropped = {key: retained._stream((key, "i")).dropped for key in (A, B)}
    left = {key: streams[key] - dropped[key] for key in (A, B)}
    share = (160 * each + 2 * STREAM) * 3 // 4 // 2
    assert retained._peers[A].size > share - each
    assert retained._peers[B].size > share - each
    assert left[A] < 80


def test_a_stream_that_lost_its_last_frame_for_others_is_forgotten_whole():
    text = "x" * 1000
    each = limits.RETAIN_STREAM_B + limits.RETAIN_FRAME_B + len(text)
    retained = Retained(peer_b=10**9, all_b=4 * each)
    for number in range(5):
        retained.keep((b"k", number), 0, 0, text)
    assert not retained.knows((b"k", 0))
    assert retained.knows((b"k", 4))
    kept = sum(retained.knows((b"k", number)) for number in range(5))
    assert retained.size == kept * each
