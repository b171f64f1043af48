"""Models that run in a vendor's cloud on the owner's account are refused, however they are named.

Ollama matches keys in any case, reads no further than the first JSON value, keeps an earlier name when a
later one is null, and trims what follows the last colon. So every key counts, nothing may follow, and a
name is judged as Ollama would read it. Pure; called by `policy`.
"""

from __future__ import annotations

from relay import named
from wire.errors import denied

_SUFFIX = "cloud"


def refuse_body(body: bytes) -> None:
    """PeerFault if a request's body names such a model, or is not one JSON object."""
    for name in named.read(body).models:
        refuse_name(name)


def refuse_name(name: str) -> None:
    """PeerFault if a model's name means the cloud."""
    tail = name.rpartition(":")[2].strip().lower()
    if tail == _SUFFIX or tail.endswith(f"-{_SUFFIX}"):
        raise denied("cloud models spend the owner's account; RELAY_ALLOW_ADMIN would allow them")
