"""Requests in pieces: dialogues and a property."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.events import Part
from relay.uploads import Lost, Uploads, Wanted, Whole
from wire import limits
from wire.errors import Fault

NAME = (b"k", "r1")
REQ: dict[str, Any] = {"path": "/api/chat", "method": "POST"}


def begin(total: int = 2, **more: Any) -> Part:
    return Part("u", total=total, req=REQ, **more)


def chunk(seq: int, data: bytes = b"x", total: int = 2, **more: Any) -> Part:
    return Part("u", total=total, seq=seq, data=data, **more)


END = Part("u", total=2, ends=True)


def test_a_request_is_whole_with_its_last_chunk() -> None:
    uploads = Uploads()
    assert uploads.take("a", NAME, begin(), 0.0) is None
    assert uploads.take("a", NAME, chunk(2, b"two"), 0.1) is None
    whole = uploads.take("a", NAME, chunk(1, b"one"), 0.2)
    assert whole == Whole({**REQ, "headers": {"Content-Type": "application/json"}}, b"onetwo")
    assert (len(uploads), uploads.size, uploads.due_at()) == (0, 0, None)


@pytest.mark.parametrize(
    ("said", "own", "headers"),
    [
        (None, None, {"Content-Type": "application/json"}),
        ("text/plain", None, {"Content-Type": "text/plain"}),
        ("text/plain", {"content-TYPE": "a/b"}, {"content-TYPE": "a/b"}),
        ("text/plain", {"X": "y"}, {"X": "y", "Content-Type": "text/plain"}),
        ("text/plain", 5, 5),
    ],
)
def test_the_content_type_is_the_requests_own_or_the_uploads(said: Any, own: Any, headers: Any) -> None:
    part = Part("u", total=1, seq=1, data=b"", req=REQ | ({"headers": own} if own else {}), content_type=said)
    whole = Uploads().take("a", NAME, part, 0.0)
    assert whole is not None
    assert whole.req["headers"] == headers


def test_what_is_missing_is_asked_for_behind_the_end_and_ever_more_rarely() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(3), 0.0)
    assert uploads.due_at() == limits.UPLOAD_ASK_S
    uploads.take("a", NAME, chunk(2, total=3), 0.0)
    uploads.take("b", NAME, Part("u", total=3, ends=True), 0.0)
    assert uploads.due_at() == limits.GAP_FIRST_S
    assert list(uploads.advance(0.2)) == []
    assert list(uploads.advance(0.3)) == [Wanted(NAME, "b", "u", [1, 3])]
    assert list(uploads.advance(1.0)) == []
    times = []
    while len(times) < 5:
        at = uploads.due_at()
        assert at is not None
        times.append(at)
        assert list(uploads.advance(at)) == [Wanted(NAME, "b", "u", [1, 3])]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses == pytest.approx([4.0, limits.GAP_MAX_S, limits.GAP_MAX_S, limits.GAP_MAX_S])


def test_a_chunk_that_came_makes_it_wait_again() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(3), 0.0)
    list(uploads.advance(1.0))
    list(uploads.advance(3.0))
    uploads.take("a", NAME, chunk(1, total=3), 4.0)
    assert uploads.due_at() == 4.0 + limits.UPLOAD_ASK_S


def test_chunks_before_the_begin_ask_for_the_request_itself() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, chunk(1), 0.0)
    assert [one.missing for one in uploads.advance(1.0) if isinstance(one, Wanted)] == [[0]]
    uploads.take("a", NAME, chunk(2, req=REQ), 1.1)
    assert len(uploads) == 0


def test_an_upload_of_which_nothing_comes_is_given_up() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(), 0.0)
    uploads.take("a", NAME, chunk(1), 1.0)
    (lost,) = uploads.advance(1.0 + limits.UPLOAD_SILENCE_S)
    assert isinstance(lost, Lost)
    assert (lost.src, lost.req, lost.fault.code) == ("a", REQ, "upload_incomplete")
    assert "1 of 2 chunks came" in lost.fault.detail
    assert (len(uploads), uploads.size) == (0, 0)


def test_one_that_never_said_how_many_is_given_up_too() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, Part("u", ends=True), 0.0)
    (lost,) = uploads.advance(limits.UPLOAD_SILENCE_S)
    assert isinstance(lost, Lost)
    assert "0 of an unknown number" in lost.fault.detail


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([begin(2), chunk(1, total=3)], "was 2 before, and now is 3"),
        ([begin(limits.UPLOAD_CHUNKS + 1)], "at most 4096"),
        ([begin(2), chunk(3)], "from 1 to total_chunks, not 3"),
        ([begin(2), chunk(0)], "not 0"),
        ([begin(0), Part("u", seq=limits.UPLOAD_CHUNKS + 1, data=b"")], "from 1 to"),
        ([begin(2), chunk(1, bytes(limits.UPLOAD_B)), chunk(2)], "must not be larger than"),
    ],
)
def test_what_cannot_be_is_refused_and_the_upload_forgotten(parts: list[Part], words: str) -> None:
    uploads = Uploads()
    *before, last = parts
    for part in before:
        assert uploads.take("a", NAME, part, 0.0) is None
    with pytest.raises(Fault, match=words) as caught:
        uploads.take("a", NAME, last, 0.0)
    assert caught.value.code == "bad_request"
    assert (len(uploads), uploads.size) == (0, 0)


def test_one_key_has_a_few_uploads_at_a_time() -> None:
    uploads = Uploads()
    for index in range(limits.UPLOADS_PEER):
        uploads.take("a", (b"k", index), begin(), 0.0)
    with pytest.raises(Fault) as caught:
        uploads.take("a", (b"k", "more"), begin(), 0.0)
    assert (caught.value.code, caught.value.retry_after_ms) == ("busy", limits.RETRY_AFTER_MS)
    uploads.take("a", (b"other", 1), begin(), 0.0)
    assert len(uploads) == limits.UPLOADS_PEER + 1


def test_all_keys_together_have_a_bound_too() -> None:
    uploads = Uploads(all_b=10 + 2 * limits.UPLOAD_PIECE_B)
    uploads.take("a", (b"a", 1), chunk(1, b"12345"), 0.0)
    uploads.take("b", (b"b", 1), chunk(1, b"12345"), 0.0)
    with pytest.raises(Fault) as caught:
        uploads.take("c", (b"c", 1), chunk(1, b"1", req=REQ), 0.0)
    assert caught.value.code == "busy"
    uploads.forget((b"a", 1), 0.0)
    uploads.forget((b"nobody", 1), 0.0)
    assert uploads.size == 5 + limits.UPLOAD_PIECE_B
    uploads.take("c", (b"c", 1), chunk(1, b"1", req=REQ), 0.0)


@given(
    st.lists(st.binary(max_size=5), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_in_any_order_with_doubles_the_body_is_the_same(
    pieces: list[bytes], dice: random.Random, again: bool
) -> None:
    total = len(pieces)
    parts = [begin(total), Part("u", total=total, ends=True)]
    parts += [chunk(seq, data, total) for seq, data in enumerate(pieces, 1)]
    parts *= 1 + again
    dice.shuffle(parts)
    uploads, found = Uploads(), None
    for at, part in enumerate(parts):
        found = uploads.take("a", NAME, part, at / 10)
        if found is not None:
            break
        sizes = [len(data) + limits.UPLOAD_PIECE_B for data in uploads._uploads[NAME].chunks.values()]
        assert uploads.size == sum(sizes)
    assert found is not None
    assert found.body == b"".join(pieces)
    assert uploads.size == 0


def test_an_end_that_comes_behind_the_last_chunk_begins_nothing_anew() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(1), 0.0)
    assert uploads.take("a", NAME, chunk(1, total=1), 0.1) is not None
    for late in (END, chunk(1, total=1)):
        assert uploads.take("a", NAME, late, 0.2) is None
    assert (len(uploads), uploads.due_at()) == (0, None)


def test_a_new_beginning_under_the_same_name_is_an_upload_again() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(1), 0.0)
    uploads.take("a", NAME, chunk(1, total=1), 0.1)
    assert uploads.take("a", NAME, begin(1), 0.2) is None
    assert uploads.take("a", NAME, chunk(1, total=1), 0.3) is not None


def test_a_late_copy_of_a_beginning_ends_without_another_word() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(1), 0.0)
    uploads.take("a", NAME, chunk(1, total=1), 0.1)
    uploads.take("a", NAME, begin(1), 0.2)
    late = 0.2 + limits.UPLOAD_SILENCE_S
    assert list(uploads.advance(late)) == []
    assert len(uploads) == 0


def test_what_is_over_is_forgotten_after_a_while_and_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPLOADS_OVER_MAX", 2)
    uploads = Uploads()
    for number in range(3):
        uploads.take("a", (b"k", number), begin(1), 0.0)
        uploads.take("a", (b"k", number), chunk(1, total=1), 0.0)
    assert [uploads._over.get(b"k", number, 0.0) is not None for number in range(3)] == [False, True, True]
    assert uploads.take("a", (b"k", 2), END, limits.UPLOAD_SILENCE_S) is None
    assert len(uploads) == 1


def test_one_too_many_of_a_key_is_refused_once() -> None:
    uploads = Uploads()
    for number in range(limits.UPLOADS_PEER):
        uploads.take("a", (b"k", number), begin(), 0.0)
    assert (
        uploads.take("a", (b"k", "more"), chunk(1), 0.0) is None
    )  # nobody knows yet how it wants its answer
    with pytest.raises(Fault) as caught:
        uploads.take("a", (b"k", "more"), begin(), 0.0)
    assert caught.value.code == "busy"
    uploads.forget((b"k", 0), 0.0)
    assert uploads.take("a", (b"k", "more"), chunk(1), 0.1) is None
    assert len(uploads) == limits.UPLOADS_PEER - 1


def test_what_is_wrong_is_said_when_it_is_known_how_its_peer_wants_to_hear_it() -> None:
    uploads = Uploads(all_b=10 + limits.UPLOAD_PIECE_B)
    assert uploads.take("a", NAME, chunk(2, bytes(11)), 0.0) is None
    assert uploads.size == 0
    assert uploads.take("a", NAME, chunk(1, b"x"), 0.0) is None
    with pytest.raises(Fault) as caught:
        uploads.take("a", NAME, begin(), 0.1)
    assert caught.value.code == "busy"
    assert (len(uploads), uploads.size) == (0, 0)


def test_what_a_request_says_beside_its_body_takes_room_too() -> None:
    uploads = Uploads(all_b=100)
    with pytest.raises(Fault) as caught:
        uploads.take("a", NAME, Part("u", total=2, req=REQ, size=101), 0.0)
    assert caught.value.code == "busy"
    assert (len(uploads), uploads.size) == (0, 0)


def test_so_many_keys_may_send_in_pieces_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPLOADS_MAX", 2)
    uploads = Uploads()
    for key in (b"a", b"b"):
        uploads.take("a", (key, 1), begin(), 0.0)
    with pytest.raises(Fault) as caught:
        uploads.take("c", (b"c", 1), begin(), 0.0)
    assert caught.value.code == "busy"


def test_the_soonest_of_several_is_due_and_the_others_are_asked_for_as_well() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(), 0.0)
    uploads.take("b", (b"k", "r2"), begin(), 5.0)
    assert uploads.due_at() == limits.UPLOAD_ASK_S
    assert [(one.src, one.missing) for one in uploads.advance(1000.0) if isinstance(one, Wanted)] == []
    uploads.take("a", NAME, begin(), 1000.0)
    uploads.take("b", (b"k", "r2"), begin(), 1000.0)
    asked = list(uploads.advance(1000.0 + limits.UPLOAD_ASK_S))
    assert [(type(one), one.src) for one in asked] == [(Wanted, "a"), (Wanted, "b")]


def test_a_late_copy_of_one_beginning_keeps_no_other_upload_from_its_end() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, Part("u", total=1, seq=1, data=b"x", req=REQ), 0.0)
    uploads.take("a", NAME, begin(), 1.0)  # a late copy
    uploads.take("b", (b"k", "r2"), begin(), 1.0)
    lost = list(uploads.advance(1.0 + limits.UPLOAD_SILENCE_S))
    assert [(type(one), one.name) for one in lost] == [(Lost, (b"k", "r2"))]


def test_as_many_chunks_may_be_said_as_there_may_be() -> None:
    uploads = Uploads()
    assert uploads.take("a", NAME, begin(limits.UPLOAD_CHUNKS), 0.0) is None
    with pytest.raises(Fault, match="at most"):
        uploads.take("a", (b"k", "r2"), begin(limits.UPLOAD_CHUNKS + 1), 0.0)


def test_who_finds_no_memory_for_its_chunks_is_told_when_to_come_again() -> None:
    uploads = Uploads(all_b=1000)
    with pytest.raises(Fault) as caught:
        uploads.take("a", NAME, begin(size=2000), 0.0)
    assert (caught.value.code, caught.value.retry_after_ms) == ("busy", limits.RETRY_AFTER_MS)


def test_all_chunks_together_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPLOAD_B", 10)
    uploads = Uploads()
    uploads.take("a", NAME, begin(4), 0.0)
    for seq, data in ((1, b"xxxx"), (2, b"xxxx")):
        uploads.take("a", NAME, chunk(seq, data, total=4), 0.0)
    with pytest.raises(Fault, match="must not be larger"):
        uploads.take("a", NAME, chunk(3, b"xxxx", total=4), 0.0)


def test_a_beginning_that_comes_twice_counts_once() -> None:
    uploads = Uploads()
    uploads.take("a", NAME, begin(size=100), 0.0)
    once = uploads.size
    uploads.take("a", NAME, begin(size=100), 0.1)
    assert uploads.size == once
