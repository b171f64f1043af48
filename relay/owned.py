"""The owner's file of rights, named by RELAY_POLICY: read from disk into a `Register`.

Called by `cli` at the start and on SIGHUP, and by the doctor.
"""

from __future__ import annotations

from pathlib import Path

from relay import rights
from relay.settings import Settings
from wire.errors import SettingsFault


def register(chosen: Settings) -> rights.Register:
    """What the owner's file says of each key; without a file all are alike.

    Raises:
        ExceptionGroup: of SettingsFault, one per mistake.
    """
    if not chosen.relay_policy:
        return rights.Register()
    try:
        text = Path(chosen.relay_policy).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        fault = SettingsFault("RELAY_POLICY", f"{chosen.relay_policy} cannot be read: {reason}")
        raise ExceptionGroup("policy", [fault]) from error
    return rights.parse(text, frozenset(chosen.relay_targets))
