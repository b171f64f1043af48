"""How the relay's doctor writes its findings. Pure. Called by `cli`."""

from __future__ import annotations

from relay.doctor.finding import Level
from wire.finding import Paper

SCHEMA = "relay-doctor/1"
_PAPER = Paper(SCHEMA, grave=(Level.FAIL, "failure"), mild=(Level.WARN, "warning"), wide=5)
text, as_json, exit_code = _PAPER.text, _PAPER.as_json, _PAPER.exit_code
