"""Every recorded case, played to the development node at the recorded times, against the page's table."""

import pytest
from nkn.recorded import clock, compat, directions, recording, rpcplay

ROWS = compat.rows()


@pytest.mark.parametrize("name", recording.RPC)
def test_rpc_case(name):
    differences = clock.run(rpcplay.play(recording.RPC[name]))
    assert ROWS[name].node == compat.verdict(differences)


@pytest.mark.parametrize("name", recording.CASES)
def test_websocket_case(name):
    case = recording.CASES[name]
    differences, observed = clock.run(directions.play(case))
    assert ROWS[name].node == compat.verdict(differences)
    told_otherwise = (directions.FOLLOWS, directions.NO_PROCESS, directions.CHANCE)
    assert set(case.observed) == observed.union(*(table.get(name, set()) for table in told_otherwise))


UNPROVEN = {
    "setclient_unsigned", "setclient_field_variants", "same_address_twice", "setclient_again_same_socket",
    "outbound_variants", "outbound_no_signature",
}  # fmt: skip
"""Cases about what a real node takes without proof: setClient or messages without a good signature."""


@pytest.mark.parametrize("name", recording.CASES)
def test_a_strict_node_differs_only_where_something_is_not_signed(name):
    case = recording.CASES[name]
    (lenient, _), (strict, _) = (clock.run(directions.play(case, strict=kind)) for kind in (False, True))
    assert (strict != lenient) == (name in UNPROVEN)
