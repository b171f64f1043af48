"""The page has every recorded case once, and a reason wherever something differs."""

import pytest
from nkn.recorded import compat, recording, roles

ROWS = compat.rows()


def test_every_recorded_case_has_its_row_in_the_order_of_the_recording():
    assert list(ROWS) == compat.CASES
    assert (len(recording.RPC), len(recording.CASES)) == (56, 51)


@pytest.mark.parametrize("name", compat.CASES)
def test_what_differs_has_a_reason_and_what_does_not_has_none(name):
    row = ROWS[name]
    differs = "differs:" in row.node + row.client
    no_part = row.client == "–"
    assert bool(row.why) == (differs or no_part)


def test_no_role_is_played_that_is_not_recorded():
    assert set(roles.ROLES) <= set(recording.CASES)
    assert set(roles.SCRIPTS) <= set(roles.ROLES)
