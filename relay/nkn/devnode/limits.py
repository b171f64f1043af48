"""The development node's own numbers, with unit and reason; those of the real node stand in `wire.limits`.

Knows nothing and imports nothing; read by the modules beside it.
"""

from typing import Final

BLOCK_S: Final = 20.0
"""Seconds between block-hash pushes; a real chain's first blocks come every 21 s."""
HOLD_MAX_B: Final = 16 * 1024 * 1024
"""Memory for messages held for absent clients; the oldest go first."""
QUEUE_MAX_B: Final = 64 * 1024 * 1024
"""Frames waiting for one slow client of the development node; then it is dropped."""
RPC_MAX_B: Final = 1024 * 1024
"""Largest JSON-RPC request body."""
HASHES_KEPT: Final = 16
"""A message may be signed with any of the last block hashes: sixteen blocks of 20 s are far longer than
anything stays on its way, and still few enough that an invented or ancient hash is noticed."""
HOLD_PURGE_S: Final = 10.0
"""Held messages that are over their time are thrown away only this often, as in a real node."""
REFUSED_CLOSE_S: Final = 3.0
"""A socket whose setClient had a bad signature is closed this much later, whatever it says meanwhile."""
WRITE_STALL_S: Final = 10.0
"""A write that takes longer makes a zombie: a real node never writes to that socket again."""
REHOME_S: Final = 60.0
"""Clients that belong to another node are told so again this often."""
TICK_S: Final = 0.1
"""How often sockets are looked at for pings, silence and planned cuts."""
RPC_READ_S: Final = 5.0
"""A body that is not complete by then gets an empty answer, an unfinished head none."""
RPC_SLOW_S: Final = 15.0
"""The "slow" RPC failure: longer than the 10 s both SDKs wait."""
RECEIPTS_ASKED_MAX: Final = 4096
"""Receipts that are awaited at the same time; older ones are then unknown."""
CERTIFICATE_DAYS: Final = 30
"""Life of the self-signed certificate: longer than any test, too short to be kept."""
STOP_S: Final = 2.0
"""How long stopping waits for open sockets before it goes on without them."""
