"""When lines leave: dialogues, and the promises of the window for any traffic."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from relay.batcher import Batcher
from wire import limits

WINDOW = limits.BATCH_MS / 1000


@dataclass(frozen=True)
class Item:
    name: int
    size: int = 10


def items(*names: int) -> list[Item]:
    return [Item(name) for name in names]


def busy_batcher(batch_ms: int = limits.BATCH_MS) -> Batcher[Item]:
    """One whose first frame is out and not acknowledged."""
    batcher: Batcher[Item] = Batcher(batch_ms)
    assert batcher.feed(Item(0), 0.0) is None
    assert batcher.advance(0.0) == items(0)
    return batcher


def test_nothing_waits_at_first():
    batcher: Batcher[Item] = Batcher()
    assert batcher.due_at() is None
    assert batcher.advance(1e9) is None
    assert batcher.advance(1e9, flush=True) is None


def test_the_first_line_leaves_at_once():
    batcher: Batcher[Item] = Batcher()
    assert not batcher.gathering
    assert batcher.feed(Item(1), 5.0) is None
    assert batcher.advance(5.0) == items(1)
    assert batcher.due_at() is None
    assert batcher.gathering
    batcher.acknowledged()
    assert not batcher.gathering


def test_a_second_line_waits_for_the_window_of_the_oldest():
    batcher = busy_batcher()
    batcher.feed(Item(1), 10.0)
    batcher.feed(Item(2), 10.05)
    assert batcher.due_at() == 10.0 + WINDOW
    assert batcher.advance(10.0 + WINDOW - 0.001) is None
    assert batcher.advance(batcher.due_at()) == items(1, 2)


def test_an_acknowledgement_lets_the_waiting_lines_go_together():
    batcher = busy_batcher()
    batcher.feed(Item(1), 10.0)
    batcher.feed(Item(2), 10.01)
    assert batcher.advance(10.02) is None
    batcher.acknowledged()
    assert batcher.advance(10.02) == items(1, 2)


def test_an_acknowledgement_while_nothing_waits_lets_the_next_line_go_at_once():
    batcher = busy_batcher()
    batcher.acknowledged()
    assert batcher.advance(10.0) is None
    batcher.feed(Item(1), 10.0)
    assert batcher.advance(10.0) == items(1)
    batcher.feed(Item(2), 10.0)
    assert batcher.advance(10.0) is None


def test_twenty_four_lines_leave_without_waiting():
    batcher = busy_batcher()
    for name in range(limits.BATCH_LINES):
        assert batcher.advance(10.0) is None
        assert batcher.feed(Item(name), 10.0) is None
    assert batcher.advance(10.0) == items(*range(limits.BATCH_LINES))


def test_a_twenty_fifth_line_pushes_the_others_out_and_starts_a_window_of_its_own():
    batcher = busy_batcher()
    for name in range(limits.BATCH_LINES):
        batcher.feed(Item(name), 10.0)
    assert batcher.feed(Item(99), 10.07) == items(*range(limits.BATCH_LINES))
    assert batcher.due_at() == 10.07 + WINDOW
    assert batcher.advance(10.07 + WINDOW) == items(99)


def test_the_byte_bound_is_kept_across_lines():
    batcher = busy_batcher()
    half = limits.FRAME_TARGET_B // 2
    batcher.feed(Item(1, half), 10.0)
    assert batcher.advance(10.0) is None
    assert batcher.feed(Item(2, half), 10.0) is None
    assert batcher.advance(10.0) == [Item(1, half), Item(2, half)]
    batcher.feed(Item(3, half), 11.0)
    assert batcher.feed(Item(4, half + 1), 11.01) == [Item(3, half)]
    assert batcher.due_at() == 11.01 + WINDOW


def test_a_line_larger_than_the_bound_leaves_at_once_and_alone():
    batcher = busy_batcher()
    big = Item(1, limits.FRAME_TARGET_B + 1)
    assert batcher.feed(big, 10.0) is None
    assert batcher.advance(10.0) == [big]


def test_flush_takes_everything():
    batcher = busy_batcher()
    batcher.feed(Item(1), 10.0)
    assert batcher.advance(10.0) is None
    assert batcher.advance(10.0, flush=True) == items(1)
    assert not batcher._held


def test_the_window_is_configurable():
    batcher = busy_batcher(batch_ms=20)
    batcher.feed(Item(1), 10.0)
    assert batcher.due_at() == 10.0 + 0.02


STEPS = st.lists(
    st.tuples(st.sampled_from([1, 10, 3000, 50_000]), st.integers(0, 60), st.booleans()), max_size=80
)


@given(STEPS)
def test_any_traffic_keeps_order_size_count_and_window(steps):
    batcher: Batcher[Item] = Batcher()
    fed_at: dict[int, float] = {}
    out: list[Item] = []
    now = 0.0

    def take(batch: list[Item] | None) -> None:
        if batch is None:
            return
        assert 1 <= len(batch) <= limits.BATCH_LINES
        assert len(batch) == 1 or sum(item.size for item in batch) <= limits.FRAME_TARGET_B
        assert all(now - fed_at[item.name] <= WINDOW + 1e-9 for item in batch)
        out.extend(batch)

    def pass_time(until: float) -> None:
        nonlocal now
        while (due := batcher.due_at()) is not None and due <= until:
            now = due
            batch = batcher.advance(now)
            assert batch, "due_at promised something"
            take(batch)
        now = until

    for name, (size, wait_ms, acked) in enumerate(steps):
        pass_time(now + wait_ms / 1000)
        if acked:
            batcher.acknowledged()
            take(batcher.advance(now))
        fed_at[name] = now
        take(batcher.feed(Item(name, size), now))
        take(batcher.advance(now))
    take(batcher.advance(now, flush=True))
    assert [item.name for item in out] == list(range(len(steps)))


def test_the_first_frame_may_be_full_to_the_last_byte():
    batcher: Batcher[Item] = Batcher()
    assert batcher.advance(0.0) is None
    batcher.feed(Item(1, limits.FRAME_TARGET_B - 1), 0.0)
    assert batcher.feed(Item(2, 1), 0.0) is None
