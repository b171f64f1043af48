import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.nkn import payload, seal
from relay.nkn.dispatch import Dispatch, MessageTooLargeError, pack
from wire import limits

KEY = "0" * 64
LIMIT = 1000


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(limits, "DM_MAX_B", LIMIT)


DESTS = st.integers(0, 30).map(lambda length: "d" * length + "." + KEY)
BODIES = st.sampled_from([b"a" * 10, b"b" * 10, b"c" * 400, b"d" * 800])


def carried(dispatches):
    """All (destination, message) pairs, in order."""
    return [
        (dest, one.payloads[at if len(one.payloads) > 1 else 0])
        for one in dispatches
        for at, dest in enumerate(one.dests)
    ]


@given(
    st.one_of(
        st.lists(st.tuples(DESTS, BODIES)),
        st.tuples(st.lists(DESTS), BODIES).map(lambda pair: [(dest, pair[1]) for dest in pair[0]]),
    )
)
def test_every_copy_travels_once_in_order_and_no_dispatch_is_over_the_limit(copies):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DM_MAX_B", LIMIT)
        dispatches = pack(copies, 7)
        assert carried(dispatches) == copies
        for one in dispatches:
            assert one.size <= LIMIT
            assert len(one.payloads) in {1, len(one.dests)}
            assert one.max_holding_seconds == 7
        for one, after in itertools.pairwise(dispatches):
            # The first of the next group did not fit any more.
            shared = len({body for _, body in copies}) == 1
            more = 64 + len(after.dests[0]) + (0 if shared else len(after.payloads[0]))
            assert one.size + more > LIMIT


def test_a_message_that_all_share_is_counted_in_each_dispatch(small):
    copies = [(f"{number:02}.{KEY}", b"x" * 700) for number in range(10)]
    assert [len(one.dests) for one in pack(copies, 0)] == [2, 2, 2, 2, 2]


def test_a_message_over_the_limit_is_refused_and_says_how_large_it_is(small):
    with pytest.raises(MessageTooLargeError, match="1001 bytes"):
        pack([(KEY, b"x" * (LIMIT - 64 - 64 + 1))], 0)
    assert pack([(KEY, b"x" * (LIMIT - 64 - 64))], 0)[0].size == LIMIT


def test_a_dispatch_may_be_filled_to_the_last_byte(small):
    half = LIMIT // 2 - 64 - len(KEY)
    assert [len(one.dests) for one in pack([(KEY, b"x" * half), (KEY, b"y" * half)], 0)] == [2]
    assert [len(one.dests) for one in pack([(KEY, b"x" * half), (KEY, b"y" * (half + 1))], 0)] == [1, 1]


def test_one_message_over_the_limit_refuses_all_of_them(small):
    with pytest.raises(MessageTooLargeError):
        pack([(KEY, b"x"), (KEY, b"y" * LIMIT)], 0)


@pytest.mark.parametrize("number", [1, 2, 10])
def test_every_dispatch_of_a_message_expires_when_it_does(small, number):
    copies = [(f"{number:02}.{KEY}", b"x" * 700) for number in range(number)]
    assert {(one.max_holding_seconds, one.expires_at) for one in pack(copies, 7, 99.5)} == {(7, 99.5)}
    assert {one.expires_at for one in pack(copies, 7)} == {math.inf}


def test_nobody_to_send_to_is_nothing_to_send():
    assert pack([], 0) == []


@pytest.mark.parametrize(("data", "longest"), [("x", 3_999_791), (b"x", 3_999_798)], ids=["text", "binary"])
def test_the_largest_message_is_that_of_the_official_sdks(data, longest):
    # 3,999,791 characters or 3,999,798 bytes to one destination of 74 characters, sealed.
    dest = "d" * 9 + "." + KEY

    def sealed(length):
        inner = payload.message(data * length, bytes(8)).encode()
        return seal.seal(inner, b"k" * 32, b"n" * 24)

    assert pack([(dest, sealed(longest))], 0)[0].size <= limits.DM_MAX_B
    with pytest.raises(MessageTooLargeError):
        pack([(dest, sealed(longest + 1))], 0)


def test_a_dispatch_counts_its_payloads_its_names_and_a_signature_for_each():
    one = Dispatch((KEY, KEY), (b"xyz",))
    assert (one.size, one.max_holding_seconds) == (3 + 2 * (64 + 64), 0)
