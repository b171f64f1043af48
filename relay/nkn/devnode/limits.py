"""The development node's own numbers, with unit and reason; those of the real node stand in `wire.limits`.

Knows nothing and imports nothing; read by the modules beside it.
"""

from typing import Final

BLOCK_S: Final = 21.0
IDLE_BLOCK_S: Final = 60.1
"""Seconds between block-hash pushes, with and without receipts since the last; as recorded."""
FIRST_BLOCKS: Final = 3
"""A chain's first blocks come in time even without receipts."""
HOLD_MAX_B: Final = 32 * 1024 * 1024
"""Memory for messages held for absent clients; the oldest go first, at the next purge."""
HOLD_HARD_B: Final = 256 * 1024 * 1024
"""Between two purges a real node knows no bound; this one stays on the machine it is tested on."""
QUEUE_MAX_B: Final = 64 * 1024 * 1024
"""Frames waiting for one slow client of the development node; then it is dropped."""
RPC_MAX_B: Final = 16 * 1024 * 1024
"""Largest request body; a real node took 8 MiB and more."""
HASHES_KEPT: Final = 16
"""A message may be signed with any of the last block hashes: sixteen blocks of 20 s are far longer than
anything stays on its way, and still few enough that an invented or ancient hash is noticed."""
HOLD_PURGE_S: Final = 10.0
"""Held messages that are over their time are thrown away only this often, as in a real node."""
REFUSED_CLOSE_S: Final = 3.0
"""A socket whose setClient had a bad signature is closed this much later, whatever it says meanwhile."""
REDELIVER_S: Final = 10.0
REDELIVER_OVER_S: Final = 10
REDELIVERIES_MAX: Final = 65_536
"""What may be held for longer than 10 s is looked at again 10 s after its delivery; so many at most."""
WRITE_STALL_S: Final = 10.0
"""A write that takes longer makes a zombie: a real node never writes to that socket again."""
REHOME_S: Final = 60.0
"""Clients that belong to another node are told so again this often."""
FROZEN_LEAVE_S: Final = 20.4
"""Until the neighbours of a frozen node take over what it owns; as recorded."""
FROZEN_RPC_S: Final = 5.0
"""How long RPC waits for a frozen owner, then it is an error."""
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
SHUFFLE_S: Final = 0.19e-3
SHUFFLE_SLOW: Final = 0.007
SHUFFLE_SLOW_S: Final = 2.5e-3
SHUFFLE_CROWD: Final = 6
SHUFFLE_CROWD_MAX: Final = 40
"""How long a message is on its way through a real node, on average; the share of those that are delayed much
more and by how much; so many at the same time double it, and no more than so many count. Fitted to the order
recorded at 100 to 4,000 messages a second; see `shuffle`."""
RATE_BURST: Final = 100
RATE_PER_S: Final = 10.0
RATE_PEERS_MAX: Final = 4096
"""RPC requests, and connections, that a real node takes from one IP address at once and then each second;
so many addresses are remembered."""
HELD_FIRST: Final = 0.014
"""Of 500 recorded connects 7 got their held messages before the answer to setClient."""
READ_B: Final = 256 * 1024
"""One read from a connection, as much as asyncio takes from the system at once; four of them wait at most."""
WRITE_B: Final = 256 * 1024
"""Larger frames are written in parts of this size, so that little of one comes after a zombie's end."""
PACE_S: Final = 0.05
"""A client whose rate is limited is read and written in portions of this many seconds."""
PACE_BUFFER_B: Final = 64 * 1024
"""What the system takes from such a client ahead of us; its own buffers would hide the slow path."""
NODES_MAX: Final = 64
"""Nodes of one process: each answers within its share of one core."""
