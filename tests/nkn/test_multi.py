from hypothesis import given
from hypothesis import strategies as st

from relay.nkn.multi import ORIGINAL, PathHealth, Routes, Seen
from wire import limits

KEY, OTHER, ID = b"k" * 32, b"o" * 32, b"12345678"
PEER = "peer." + "0" * 64


# -- Seen -----------------------------------------------------------------------------


def test_only_the_first_copy_is_new_and_all_share_what_is_known():
    seen = Seen()
    first, new = seen.arrive(KEY, ID, 0.0)
    again, newer = seen.arrive(KEY, ID, 1.0)
    assert (new, newer) == (True, False)
    assert again is first
    assert first.outcome == "pending"


def test_a_stranger_who_uses_a_messages_id_cannot_suppress_it():
    seen = Seen()
    assert seen.arrive(OTHER, ID, 0.0)[1]
    assert seen.arrive(KEY, ID, 1.0)[1]


def test_a_copy_is_known_until_its_time_is_over_and_not_longer():
    seen = Seen()
    seen.arrive(KEY, ID, 0.0)
    assert not seen.arrive(KEY, ID, limits.SEEN_TTL_S - 0.1)[1]
    assert seen.arrive(KEY, ID, limits.SEEN_TTL_S)[1]


def test_what_is_too_old_is_forgotten_when_told_so():
    seen = Seen()
    seen.arrive(KEY, ID, 0.0)
    seen.arrive(OTHER, ID, 1.0)
    for now, left in ((limits.SEEN_TTL_S - 0.1, 2), (limits.SEEN_TTL_S, 1), (limits.SEEN_TTL_S + 1.0, 0)):
        seen.tidy(now)
        assert len(seen) == left


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_MAX", 3)
    seen = Seen()
    for number in range(4):
        seen.arrive(KEY, bytes([number]), float(number))
    assert len(seen) == 3
    assert not seen.arrive(KEY, bytes([3]), 5.0)[1]
    assert seen.arrive(KEY, bytes([0]), 5.0)[1]


def test_a_short_reply_is_kept_for_later_copies_and_a_long_one_is_not(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_REPLY_MAX_B", 4)
    seen = Seen()
    short, _ = seen.arrive(KEY, b"1", 0.0)
    long, _ = seen.arrive(KEY, b"2", 0.0)
    seen.keep_reply(short, "abcd")
    seen.keep_reply(long, "abcde")
    assert (short.reply, long.reply) == ("abcd", None)


def test_the_replies_kept_are_bounded_together_and_forgotten_ones_make_room(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_REPLIES_MAX_B", 10)
    seen = Seen()
    copies = [seen.arrive(KEY, bytes([number]), 0.0)[0] for number in range(3)]
    for copy in copies:
        seen.keep_reply(copy, b"xxxxx")
    assert [copy.reply for copy in copies] == [b"xxxxx", b"xxxxx", None]
    later, _ = seen.arrive(KEY, b"later", limits.SEEN_TTL_S)
    seen.keep_reply(later, b"y" * 10)
    assert later.reply == b"y" * 10


def test_a_reply_to_a_message_forgotten_meanwhile_takes_no_room_for_ever(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_REPLIES_MAX_B", 10)
    seen = Seen()
    slow, _ = seen.arrive(KEY, ID, 0.0)
    later, _ = seen.arrive(KEY, b"later", limits.SEEN_TTL_S)
    seen.keep_reply(slow, b"x" * 10)
    seen.keep_reply(later, b"y" * 10)
    assert later.reply == b"y" * 10


# -- Routes ---------------------------------------------------------------------------


def routes(*heard):
    table = Routes()
    for index, prefix in heard:
        table.heard(PEER, index, prefix)
    return table


ALL = [0, 1, 2, ORIGINAL]


def test_an_unknown_peer_is_tried_by_every_part():
    assert routes().towards(PEER, ALL) == [(0, 0), (1, 1), (2, 2), (ORIGINAL, ORIGINAL)]
    assert routes().towards(PEER, [ORIGINAL]) == [(ORIGINAL, ORIGINAL)]


def test_a_peer_of_many_parts_is_answered_part_by_part():
    assert routes((1, 1)).towards(PEER, ALL) == [(0, 0), (1, 1), (2, 2)]


def test_a_plain_peer_is_answered_at_its_plain_address_by_the_part_that_heard_it():
    assert routes((1, None)).towards(PEER, ALL) == [(1, ORIGINAL)]
    assert routes((1, None), (ORIGINAL, None)).towards(PEER, ALL) == [(ORIGINAL, ORIGINAL)]


def test_a_peer_heard_both_ways_is_answered_both_ways():
    assert routes((0, 0), (ORIGINAL, None)).towards(PEER, ALL) == [
        (0, 0),
        (1, 1),
        (2, 2),
        (ORIGINAL, ORIGINAL),
    ]


def test_if_the_parts_that_know_the_way_are_down_the_others_try():
    assert routes((1, None)).towards(PEER, [0, ORIGINAL]) == [(0, ORIGINAL), (ORIGINAL, ORIGINAL)]
    assert routes((0, 0)).towards(PEER, [ORIGINAL]) == [(ORIGINAL, ORIGINAL)]


@given(
    st.lists(st.tuples(st.sampled_from(ALL), st.one_of(st.none(), st.integers(0, 3)))),
    st.lists(st.sampled_from(ALL), unique=True, min_size=1),
)
def test_whatever_was_heard_there_is_a_way_and_none_is_taken_twice(heard, up):
    ways = routes(*heard).towards(PEER, up)
    assert ways
    assert len(set(ways)) == len(ways)
    assert {mine for mine, _ in ways} <= set(up)


def test_acknowledgements_are_expected_only_on_parts_that_heard_the_peer():
    table = routes((1, 1), (ORIGINAL, None))
    assert [table.knows(PEER, index) for index in ALL] == [False, True, False, True]
    assert not table.knows("someone else", 1)


def test_a_part_that_is_made_anew_expects_acknowledgements_only_of_peers_heard_since():
    table = routes((1, 1), (2, 2))
    table.forget(1)
    assert [table.knows(PEER, index) for index in (1, 2)] == [False, True]
    assert (1, 1) in table.towards(PEER, ALL)  # it is still tried there
    table.heard(PEER, 1, 1)
    assert table.knows(PEER, 1)


def test_the_same_for_a_peer_without_parts():
    table = routes((1, None))
    table.forget(1)
    assert not table.knows(PEER, 1)
    assert table.towards(PEER, ALL) == [(1, ORIGINAL)]
    table.heard(PEER, 1, None)
    assert table.knows(PEER, 1)


def test_the_peers_remembered_are_bounded_and_the_longest_silent_goes_first(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_KEYS_MAX", 2)
    for prefix in (None, 0):
        table = Routes()
        for peer in ("a", "b", "a", "c"):
            table.heard(peer, 0, prefix)
        assert [table.knows(peer, 0) for peer in "abc"] == [True, False, True]


# -- PathHealth -----------------------------------------------------------------------


def health(sent=limits.PATH_DEAD_SENDS, *, other_acked_at=5.0):
    """Path 0 with so many messages unacknowledged since 0, path 1 acknowledged at some time."""
    paths = PathHealth()
    for _ in range(sent):
        paths.sent(0, 0.0)
    if other_acked_at is not None:
        paths.sent(1, 0.0)
        paths.acked(1, other_acked_at)
    return paths


LATE = limits.PATH_DEAD_S


def test_a_path_that_swallows_while_another_is_acknowledged_is_dead():
    assert health().dead(LATE) == [0]


def test_a_path_is_not_dead_before_its_time():
    assert health().dead(LATE - 0.1) == []


def test_the_time_counts_from_the_first_unacknowledged_message():
    paths = PathHealth()
    paths.acked(0, 90.0)
    for now in range(limits.PATH_DEAD_SENDS):
        paths.sent(0, 100.0 + now)
    paths.acked(1, 105.0)
    assert paths.dead(100.0 + LATE - 0.1) == []
    assert paths.dead(100.0 + LATE) == [0]


def test_an_acknowledgement_of_the_same_moment_proves_nothing():
    assert health(other_acked_at=0.0).dead(LATE) == []


def test_few_unacknowledged_messages_prove_nothing():
    assert health(limits.PATH_DEAD_SENDS - 1).dead(LATE) == []


def test_if_no_path_is_acknowledged_the_peer_is_gone_and_no_path_is_to_blame():
    assert health(other_acked_at=None).dead(LATE) == []


def test_an_acknowledgement_from_before_proves_nothing():
    paths = PathHealth()
    paths.acked(1, 0.0)
    for _ in range(limits.PATH_DEAD_SENDS):
        paths.sent(0, 1.0)
    assert paths.dead(1.0 + LATE) == []


def test_one_acknowledgement_clears_a_path():
    paths = health()
    paths.acked(0, 6.0)
    assert paths.dead(LATE) == []
    paths.sent(0, 7.0)
    assert paths.dead(100.0) == []


def test_a_path_with_a_new_socket_begins_anew():
    paths = health()
    paths.reset(0)
    assert paths.dead(LATE) == []
    paths.reset(1)
    for _ in range(limits.PATH_DEAD_SENDS):
        paths.sent(0, 0.0)
    assert paths.dead(LATE) == []  # what path 1 once acknowledged counts no more


def test_a_lone_path_never_judges_itself():
    paths = PathHealth()
    paths.acked(0, 50.0)
    for _ in range(limits.PATH_DEAD_SENDS):
        paths.sent(0, 0.0)
    assert paths.dead(LATE) == []


def test_a_key_that_sends_many_messages_makes_nobody_elses_new_again(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_MAX", 16)
    seen = Seen()
    seen.arrive(b"small", b"id", 0.0)
    for number in range(1000):
        seen.arrive(b"greedy", number.to_bytes(8, "big"), 1.0)
    assert seen.arrive(b"small", b"id", 2.0)[1] is False


def test_of_the_replies_kept_each_that_is_forgotten_makes_its_own_room(monkeypatch):
    monkeypatch.setattr(limits, "SEEN_REPLIES_MAX_B", 10)
    seen = Seen()
    first, _ = seen.arrive(KEY, b"1", 0.0)
    seen.arrive(KEY, b"2", 0.0)  # never replied to
    second, _ = seen.arrive(KEY, b"3", 1.0)
    seen.keep_reply(first, b"xxx")
    seen.keep_reply(second, b"yyyyy")
    third, _ = seen.arrive(KEY, b"4", limits.SEEN_TTL_S)  # the first two are forgotten
    seen.keep_reply(third, b"zzzzzz")
    assert third.reply is None
    seen.keep_reply(third, b"zzzzz")
    assert third.reply == b"zzzzz"


def test_every_part_that_heard_a_peer_knows_it():
    table = routes((0, 0), (2, 2))
    assert [table.knows(PEER, index) for index in range(3)] == [True, False, True]
