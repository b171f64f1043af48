"""The Ollama versions that nobody should serve to others. Pure; both doctors tell of it."""

from __future__ import annotations

import re
from typing import Final

SAFE_VERSION: Final = (0, 17, 1)
"""The first Ollama without CVE-2026-7482: older ones show their memory to whoever may create and push."""
HOLE: Final = "before 0.17.1 whoever may create and push models can read its memory (CVE-2026-7482)"


def is_old(version: str) -> bool:
    """Whether that version is known to be unsafe; builds that do not know their version are not."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    numbers = tuple(map(int, found.groups())) if found else ()
    return (0, 0, 0) < numbers < SAFE_VERSION  # no numbers are less than any
