"""Every number of the site's server, with its unit and the reason for it.

Names end in their unit: _S seconds, _B bytes; without one they count things.
Knows nothing and imports nothing of ours but is read by every module here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# -- a request --------------------------------------------------------------------------
HEAD_MAX_B: Final = 16 * 1024
"""Request line and headers together; a browser's head for these pages is below 1 KiB."""
HEADERS_MAX: Final = 64
"""Browsers send about 20."""
TARGET_MAX: Final = 2048
"""Characters of path and query; our longest path has below 100."""
READ_B: Final = 16 * 1024
"""One read; with the bound on a head it bounds what one connection holds here."""

# -- an answer --------------------------------------------------------------------------
PIECE_B: Final = 64 * 1024
"""A body is handed to the socket in such pieces, so that a slow reader holds no copy of a large file."""
IMMUTABLE_S: Final = 365 * 24 * 3600
"""How long a vendored file may be kept without asking: a year, the most that is of use to caches."""
HSTS_S: Final = 180 * 24 * 3600
"""Only with a certificate of the owner's, and only for a name of their domain."""

# -- connections ------------------------------------------------------------------------
BACKLOG: Final = 128
"""Connections the system holds until we take them."""
ACCEPT_PAUSE_S: Final = 0.1
"""Pause when the system has no more file descriptors for us."""
LINGER_S: Final = 0.1
LINGER_MAX_S: Final = 2.0
"""After a refusal what still comes is read and dropped until nothing came for the first, or for the second in
all: a socket closed over unread bytes is reset, and the refusal would be lost on the way."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection may take and how many there may be.

    Attributes:
        handshake_s: from the connection to the end of its TLS handshake.
        head_s: from the first byte of a request to the end of its head.
        idle_s: between two requests; browsers open connections ahead and keep them.
        piece_s: for 64 KiB of an answer: 2 kB/s, below which no page works.
        close_s: for the last bytes and the TLS close; the default of asyncio.
        connections: at once; a browser opens 6. When there is one more, that which has made no progress for
            longest is closed.
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    idle_s: float = 30.0
    piece_s: float = 30.0
    close_s: float = 30.0
    connections: int = 256


# -- files ------------------------------------------------------------------------------
FILE_MAX_B: Final = 16 * 1024 * 1024
"""One served file, kept in memory; the largest is 2 MB."""
PEM_MAX_B: Final = 1024 * 1024
"""A certificate with its chain is about 5 KiB."""

# -- the certificate --------------------------------------------------------------------
VALID_DAYS: Final = 820
"""Apple's systems accept at most 825 days."""
SKEW_DAYS: Final = 1
"""It begins in the past, for a phone whose clock is late."""
RENEW_DAYS: Final = 7
"""Made anew this long before its end, so that it does not end while the server runs."""
