"""A large request in messages, and the relay's half of it."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from relay import events
from relay.parcel import Parcel
from relay.uploads import Uploads
from wire import limits

LARGE = {
    "path": "/api/chat",
    "method": "POST",
    "stream": "chunks",
    "json": {"words": "ä" * limits.UPLOAD_OVER_B},
}


def test_what_fits_a_message_is_no_parcel() -> None:
    assert Parcel.of("i", {"path": "/", "json": {"a": 1}}) is None
    assert Parcel.of("i", {"path": "/", "data": "x" * limits.UPLOAD_OVER_B * 2}) is None
    assert Parcel.of("i", {"path": "/", "json": "x" * (limits.UPLOAD_OVER_B - 2)}) is None
    assert Parcel.of("i", {"path": "/", "json": "x" * (limits.UPLOAD_OVER_B - 1)}) is not None


def test_it_begins_with_the_request_and_ends_with_the_end() -> None:
    parcel = Parcel.of("i", LARGE)
    assert parcel is not None
    begin, *chunks, end = parcel.all()
    names = {"id": "i", "upload_id": "i", "total_chunks": len(chunks)}
    req = {name: value for name, value in LARGE.items() if name != "json"}
    kind = "application/json"
    assert begin == {"event": "http.upload.begin", **names, "req": req, "content_type": kind}
    assert end == {"event": "http.upload.end", **names}
    assert [chunk["seq"] for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert all(len(json.dumps(chunk)) < 85_000 for chunk in chunks)


def test_what_is_asked_for_again_is_what_there_is() -> None:
    parcel = Parcel.of("i", LARGE)
    assert parcel is not None
    again = list(parcel.again([2, "3", None, -1, 0, 10**9]))
    assert [one["event"].rpartition(".")[2] for one in again] == ["chunk", "begin", "end"]
    assert again[0]["seq"] == 2


@given(st.randoms(use_true_random=False), st.floats(0, 0.9))
def test_whatever_gets_lost_the_relay_has_the_body_in_the_end(dice: random.Random, loss: float) -> None:
    parcel = Parcel.of("i", LARGE)
    assert parcel is not None
    uploads, now = Uploads(), 0.0
    sending = list(parcel.all())
    while True:
        for message in sending:
            if dice.random() < loss:
                continue
            event = events.read(json.dumps(message))
            assert event.kind == "upload"
            whole = uploads.take("a", (b"k", event.id), event.part, now)
            if whole is not None:
                assert json.loads(whole.body) == LARGE["json"]
                assert whole.req["headers"] == {"Content-Type": "application/json"}
                return
        at = uploads.due_at()
        now = now + 1 if at is None else at
        asked = list(uploads.advance(now))
        missing = getattr(asked[0], "missing", [0]) if asked else [0]
        sending = list(parcel.again(missing) if len(uploads) else parcel.all())


def test_only_chunks_that_there_are_come_again() -> None:
    parcel = Parcel.of("i", LARGE)
    assert parcel is not None
    count = len(list(parcel.all())) - 2
    assert [one.get("seq") for one in parcel.again([count, count + 1, -1, "1", None])] == [count, None]
