"""relay.station: what relay.info says beside ts and addr."""

from relay.admission import Shares
from relay.manner import Manner
from relay.policy import Policy
from relay.station import FEATURES, PROTOCOL, Station
from wire import limits
from wire.origin import Origin


def test_a_relay_tells_its_services_limits_and_features():
    targets = {"b": Origin.parse("http://127.0.0.1:1"), "a": Origin.parse("http://127.0.0.1:2")}
    facts = Station("addr", "1.2").facts(
        Policy(targets, verify_default=False), Shares(workers=5, per_peer=2, queue=7), Manner(3.0, 99)
    )
    assert facts == {
        "services": ["a", "b"],
        "verify_default": False,
        "workers": 5,
        "max_body_b": 99,
        "version": "1.2",
        "protocol": PROTOCOL,
        "features": list(FEATURES),
        "limits": {
            "peer_streams": 2,
            "queue": 7,
            "message_b": limits.DM_MAX_B,
            "line_b": limits.LINE_MAX_B,
            "upload_b": limits.UPLOAD_B,
            "keepalive_s": 3.0,
        },
    }
