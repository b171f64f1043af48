"""Records: as frozen dataclasses to whoever reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wire.record import record


@record
class Point:
    """A point."""

    x: int
    y: int = 0


def test_a_record_is_made_compared_matched_and_replaced_as_a_dataclass_is() -> None:
    assert Point(1) == Point(x=1, y=0) != Point(1, 2)
    assert repr(Point(1)) == "Point(x=1, y=0)"
    assert replace(Point(1), y=3) == Point(1, 3)
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)


def test_a_record_has_no_room_for_what_is_not_its_own_and_cannot_be_a_key() -> None:
    @record
    class Place:
        name: str

    with pytest.raises(AttributeError):
        Place("here").z = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        hash(Place("here"))


def test_the_type_checker_lets_nobody_change_one() -> None:
    """`mypy` refuses a comment that ignores nothing, so this holds it to the error."""
    point = Point(1)
    point.x = 2  # type: ignore[misc]
    assert point.x == 2
