"""How the farm's doctor writes its findings. Pure. Called by `cli`."""

from __future__ import annotations

from farm.doctor.finding import Level
from wire.finding import Paper

SCHEMA = "farm-doctor/1"
_PAPER = Paper(SCHEMA, grave=(Level.TROUBLE, "trouble"), mild=(Level.NOTE, "note"), wide=7)
text, as_json, exit_code = _PAPER.text, _PAPER.as_json, _PAPER.exit_code
