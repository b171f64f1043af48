"""Secrets on disk: made once with a fresh seed, mode 0600, never overwritten, never printed.

Called by `settings` for the relay's `.env` and by the peer's commands for `--seed-file`.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

from wire.errors import SettingsFault

_TEMPLATE = """\
# Made on first run. Whoever has NKN_SEED_HEX is this relay: keep it secret, keep a copy.
NKN_SEED_HEX={seed}

# Parts of the NKN address at different nodes; more parts: more reliable, more traffic.
NKN_NUM_SUBCLIENTS=2
# Requests that run at once.
RELAY_WORKERS=4
# Where an answer without stream is cut, bytes.
RELAY_MAX_BODY_B=2097152
# Check TLS certificates of targets unless a peer says otherwise.
RELAY_VERIFY_DEFAULT=1
# Service name -> base URL.
RELAY_TARGETS={{"ollama":"http://127.0.0.1:8080"}}
# CSV of ws:// or wss://host:port nodes that are tried before any RPC server.
NKN_BRIDGE_SEED_WS=
# CSV of public keys (or addresses) that may ask; empty: anyone who knows the address.
RELAY_ALLOW_PEERS=
"""


def create_env(path: Path) -> bool:
    """Make a `.env` with a fresh seed; False if there is one already.

    Raises:
        SettingsFault: if it cannot be made.
    """
    return _create(path, _TEMPLATE.format(seed=os.urandom(32).hex()))


def read_or_create_seed(path: Path) -> bytes:
    """The seed in a file of 64 hex digits, made if it is missing.

    Raises:
        SettingsFault: if the file cannot be read, or holds something else.
    """
    _create(path, os.urandom(32).hex() + "\n")
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsFault("--seed-file", f"{path} cannot be read: {error}") from error
    return parse_seed("--seed-file", text)


def parse_seed(key: str, text: str) -> bytes:
    """32 bytes from 64 hex digits; SettingsFault (naming `key`, never the text) otherwise."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise SettingsFault(key, f"must be 64 hex digits (32 bytes), this has {len(text)} characters")
    return bytes.fromhex(text)


def readable_by_others(path: Path) -> bool:
    """Whether anybody but the owner may read the file; False if it is not there, as behind a dead link."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _create(path: Path, text: str) -> bool:
    """Write a new file of mode 0600; False if there is one.

    Written beside it and linked into place: of two that start at once one makes it, and nobody ever
    reads half of it.
    """
    try:
        if path.exists():
            return False
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            _place(Path(made), path, text)
        finally:
            Path(made).unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise SettingsFault(str(path), f"cannot be made: {error.strerror}") from error
    return True


def _place(made: Path, path: Path, text: str) -> None:
    """Give a written file its name; FileExistsError if that is taken."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as FAT
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
