"""Every number of the house, with its unit and the reason for it.

Names end in their unit: _S seconds, _MS milliseconds, _B bytes; without one they count things.
Knows nothing and imports nothing; read by every floor.
"""

from typing import Final

# -- NKN, as its nodes and SDKs have it -------------------------------------------------
DM_MAX_B: Final = 4_000_000
"""Largest direct message the official SDKs accept, all destinations together."""
NODE_FRAME_MAX_B: Final = 4 * 1024 * 1024
"""A node closes the socket (1009) when a websocket message is larger."""
NODE_PING_S: Final = 8.0
"""A node pings this often; we ping as often, to notice a dead node ourselves."""
NODE_PONG_TIMEOUT_S: Final = 10.0
"""A node drops a client from whom it read neither message nor pong for this long."""
PONG_S: Final = 4.0
"""We send an unsolicited pong this often: pings do not keep a session, and an answer to the
node's ping would queue behind its data on a slow path."""
SILENCE_S: Final = 18.0
"""Nothing at all from the node for two of its pings and a bit: the path is dead."""
CHALLENGE_WAIT_S: Final = 5.0
"""Both SDKs wait this long for a challenge and then register without one; so do we."""
REGISTER_WAIT_S: Final = 10.0
"""A node that has not answered setClient by then is given up."""
DIAL_TIMEOUT_S: Final = 10.0
"""TCP and websocket handshake with a node."""
RPC_TIMEOUT_S: Final = 10.0
"""One JSON-RPC call; as in both SDKs."""
RPC_NEXT_S: Final = 1.5
"""A seed that has not answered by then stays asked, but the next is asked beside it."""
RPC_ANSWER_MAX_B: Final = 256 * 1024
"""A node's answer about an address is below 1 KiB; anything near this is no node."""
RECONNECT_MIN_S: Final = 1.0
RECONNECT_MAX_S: Final = 64.0
"""Back-off between attempts, doubled each time, with full jitter; as in both SDKs."""
RESPONSE_TIMEOUT_S: Final = 5.0
"""How long `send` waits for a reply or an acknowledgement; the JS SDK's default."""
FRAGMENT_OVER_B: Final = 64 * 1024
"""Larger websocket messages go in fragments: a node cuts a frame that takes over 10 s to arrive."""
FRAGMENT_B: Final = 16 * 1024
"""Size of such a fragment, each followed by a pong: passes at 2 kB/s."""
OUTBOX_MAX_B: Final = 32 * 1024 * 1024
"""Frames waiting for one node's socket; beyond it the sender is told (OutboxFull)."""
RECEIPTS_MAX: Final = 4096
"""While this much waits for a node's socket no receipts are added; delivery does not depend on them."""
SEEN_MAX: Final = 8192
"""Message ids remembered per client for deduplication."""
SEEN_TTL_S: Final = 300.0
"""How long they are remembered; both SDKs use 300 s."""
SEEN_REPLY_MAX_B: Final = 64 * 1024
"""A reply up to this size is kept, to answer a repeated message again."""
SEEN_REPLIES_MAX_B: Final = 8 * 1024 * 1024
"""All replies kept so, together."""
OUTBOX_AGE_S: Final = 60.0
"""A message that found no socket for this long, and for longer than nodes would have held it, is dropped."""
HANDLERS_MAX: Final = 1024
"""Messages whose handlers run; more are not taken, nor acknowledged, so that their senders try again."""
ANSWERED_RECENTLY_MAX: Final = 4096
"""Messages of which it is remembered how the wait for their answer ended."""
WAITERS_MAX: Final = 16_384
"""Sent messages whose acknowledgement is awaited."""
SHARED_KEYS_MAX: Final = 4096
"""Peers whose box key is cached (0.18 ms each to make again)."""
PATH_DEAD_SENDS: Final = 8
PATH_DEAD_S: Final = 10.0
"""A path on which at least this many messages went unacknowledged for this long, while another
path's were acknowledged, is dead even if its socket is healthy."""
RESEND_FIRST_S: Final = 1.0
"""A message to a peer whose pace is not known yet counts as lost after this long, as in TCP."""
RESEND_SPREAD_MIN_S: Final = 0.05
"""Least allowance above a peer's mean time to an acknowledgement: a pause of its event loop is no loss."""
RESEND_PAUSE_MAX_S: Final = 3.0
"""Longest pause between two attempts."""
RESEND_B_PER_S: Final = 1_000_000
"""What is under way gets time to arrive at this rate beyond that: a large message is large, not lost."""
RESEND_PLAIN_S: Final = 1.0
"""Least wait for a peer without sub-clients: the official plain Client delivers what comes twice twice."""
RESEND_TRIES: Final = 8
"""Attempts in all, the later ones on all paths: at 40 % loss on two paths one message in 10⁶ is lost."""
RESEND_BURST: Final = 16
"""Messages sent again to one peer at once; the others follow 50 ms later."""
RESEND_MAX_B: Final = 16 * 1024 * 1024
"""Messages kept until acknowledged, all peers together; beyond it they are sent once, on all paths."""
RESEND_QUEUED_B: Final = 64 * 1024
"""Nothing is sent again while more than this waits for a node's socket here."""
RESEND_UNPROVEN: Final = 64
RESEND_UNPROVEN_TRIES: Final = 3
"""Messages sent so often, in all, to a peer of whom no acknowledgement was ever seen; the others once."""
PATH_SHUN_S: Final = 0.5
PATH_SHUN_MAX_S: Final = 30.0
"""A path that swallowed a message is passed over for this long, doubled each time up to the maximum."""
PATH_FRESH_S: Final = 15.0
"""What was measured of a path is believed for this long."""
LOSS_WEIGHT: Final = 1 / 128
LOSS_HALF_S: Final = 10.0
LOSSY: Final = 0.01
"""What is lost on the way to a peer is smoothed over so many messages, and half forgotten after so long.
Above the last a message takes all paths at once, faster by a time-out than sending it again."""
EXTRA_COPIES: Final = 300
"""Such copies a second, all peers together: a tenth of a core. Beyond, messages take one path again."""
PATH_SURVEY_S: Final = 5.0
"""Now and then a message takes all paths, to see whether another has become better."""
HOLD_FRAMES_S: Final = 120
"""Nodes hold a relay's frames this long for a peer that is just reconnecting."""
HOLD_REPLY_S: Final = 0
"""Replies and acknowledgements are never held by nodes; as in both SDKs."""

# -- the relay --------------------------------------------------------------------------
FRAME_TARGET_B: Final = 48 * 1024
"""Lines gathered in one frame, so that it stays within 64 KiB on the wire."""
FRAME_MAX_B: Final = 3_990_000
"""A frame's JSON text; with sealing and signature it still is one direct message."""
LINE_MAX_B: Final = 3_900_000
"""One line of an upstream's answer; Ollama's own client accepts 8 MB lines, a DM does not."""
CHUNK_B: Final = 32 * 1024
"""Bytes of a body that is not lines, per frame; 43 KiB as base64."""
BATCH_LINES: Final = 24
BATCH_MS: Final = 80
"""Lines per frame and how long a line may wait for company; both from the published contract."""
REQUEST_ID_MAX: Final = 256
"""Characters of a request's id."""
TIMEOUT_MS: Final = 30_000
TIMEOUT_MAX_MS: Final = 24 * 3600 * 1000
"""`timeout_ms` of a request: the default of the contract, and a day."""
CONNECT_TIMEOUT_S: Final = 5.0
"""TCP connect to a target on this machine or LAN."""
HEALTH_TIMEOUT_S: Final = 3.0
"""One target's answer to a health question."""
KEEPALIVE_S: Final = 10.0
WORKERS: Final = 4
WORKERS_MAX: Final = 1024
QUEUE: Final = 64
QUEUE_MAX: Final = 65_536
KEEPALIVE_FIRST_S: Final = 1.0
"""A peer that sees nothing yet is told so soon why, and shows whether it acknowledges."""
GONE_S: Final = 35.0
GONE_MIN_S: Final = 15.0
GONE_KEEPALIVES: Final = 3.5
"""A peer that acknowledged before and is silent for so long is gone: three keepalives without an answer, but
within the first two bounds."""
HOLD_B: Final = 512 * 1024
"""Of one stream under way to its peer: above it the upstream is not read on. 2.5 MB/s at 200 ms."""
QUEUE_WAIT_S: Final = 300.0
"""A request that found no free worker by then is refused as busy."""
RETRY_AFTER_MS: Final = 2_000
"""Suggested pause to a peer refused as busy."""
MAX_BODY_B: Final = 2_097_152
MAX_BODY_LIMIT_B: Final = 2_900_000
"""RELAY_MAX_BODY_B: the contract's default, and what still fits one DM as base64."""
JSON_VALUES_MAX: Final = 500_000
JSON_MEMBERS_MAX: Final = 120_000
"""Of one JSON text: the longest `context` of a model, or vectors, are some 100,000 numbers."""
READS_PER_S: Final = 1500.0
"""Of all streams' upstreams together: what takes about a third of a core."""
LITTLE_B: Final = 1024
"""What came of a stream and is less than that may wait while a frame is under way."""
ROUND_S: Final = 0.01
CROWD_ROUNDS: Final = 2
"""Upstreams that rest are read on in common rounds, in every second if so many run that each rests for its
whole window: what is done at once is done on warm caches."""
WRITES_AT_ONCE: Final = 4
"""Of a node's socket in one turn of the loop: the last lines of a stream and its end, one after the other;
what comes beyond is a crowd's and is written together."""
WORKERS_AT_ONCE: Final = 4
WORKER_LATE_S: Final = 0.02
"""Threads that ask upstreams: so many come without delay; more, while a request waits for one so long."""
ANSWERED_MAX: Final = 8192
ANSWERED_TTL_S: Final = 300.0
"""Ids of ended requests remembered, so that a late copy is not executed again."""
CANCELS_MAX: Final = 4096
CANCELS_TTL_S: Final = 60.0
"""Ids that were cancelled before anything was known of them: messages overtake each other by seconds."""
RETAIN_S: Final = 30.0
"""How long frames are kept after the end of their stream, for a peer that asks for them again."""
WORKER_IDLE_S: Final = 10.0
"""A thread that had nothing to do for so long ends."""
TIDY_S: Final = 30.0
"""How often what is too old is forgotten and, if nothing runs, memory goes back to the system."""
RETAIN_PEER_B: Final = 4 * 1024 * 1024
RETAIN_ALL_B: Final = 48 * 1024 * 1024
"""Memory of the frames kept for one key and for all. A long answer of a model is 1 MB of frames."""
RETAIN_FRAME_B: Final = 192
RETAIN_STREAM_B: Final = 768
"""What a kept frame and a stream with kept frames take beside the text of the frames; measured."""
AGAIN_PAUSE_S: Final = 0.25
"""A frame that was just sent again is on its way."""
AGAIN_FRAME_B: Final = 1024
"""Sealing and signing a small frame again costs as much as this many bytes of a large one."""
AGAIN_PEER_B: Final = 1024 * 1024
AGAIN_PEER_B_PER_S: Final = 512 * 1024
"""What is sent again to one key, at once and in the long run: a minute of a stream at once, of 8 in 15 s."""
AGAIN_ALL_B: Final = 4 * 1024 * 1024
AGAIN_ALL_B_PER_S: Final = 2 * 1024 * 1024
"""The same for all keys together: at most half a core."""
MISSING_MAX: Final = 256
"""Numbers in one `relay.response.missing`; the rest is asked for next time."""
GAP_FIRST_S: Final = 0.3
GAP_MAX_S: Final = 5.0
"""A peer asks for what it lacks after the first, then ever more rarely up to the second: frames overtake each
other, and the relay sends again by itself what was not acknowledged."""
GAPS_MAX: Final = 4 * MISSING_MAX
"""Numbers that a peer looks after at a time; the others are asked for when these are there."""
GAP_LOOK_S: Final = 0.1
"""A peer looks so often for gaps: with thousands of lines held behind one, looking costs milliseconds."""
GAP_GONE_S: Final = 10.0
"""What the relay does not keep any more may still be under way for so long: RESEND_TRIES take no less."""
UPLOAD_B: Final = 32 * 1024 * 1024
"""A request that comes in pieces: some dozen pictures as a camera makes them."""
UPLOADS_ALL_B: Final = 128 * 1024 * 1024
UPLOADS_MAX: Final = 256
UPLOADS_PEER: Final = 4
"""Unfinished uploads: bytes of memory of all keys, how many of all, and how many of one."""
UPLOAD_PIECE_B: Final = 160
"""What a piece takes beside its bytes; measured."""
UPLOADS_OVER_MAX: Final = 4096
"""Uploads of which it is remembered, for UPLOAD_SILENCE_S, that they were given out or up."""
UPLOAD_CHUNKS: Final = 4096
UPLOAD_CHUNK_B: Final = 60 * 1024
"""Pieces of one request, and the bytes that our peer puts into one: 80 KiB as base64."""
UPLOAD_OVER_B: Final = 200_000
"""A body larger than this goes in pieces: of what is lost, only the piece is sent again."""
UPLOAD_ASK_S: Final = 1.0
"""Chunks that are missing so long after the last one came are asked for, then ever more rarely."""
UPLOAD_SILENCE_S: Final = 60.0
"""An upload of which nothing came for so long is given up."""
READ_B: Final = 64 * 1024
"""One read from an upstream."""
ANSWER_HEAD_MAX_B: Final = 128 * 1024
"""Of an upstream's answer; each line of it is bounded by the standard library, at half as much."""
UNSENT_HIGH_B: Final = 1024 * 1024
UNSENT_LOW_B: Final = 256 * 1024
"""Bytes of a stream not yet written to a socket: above the first its upstream is not read on,
below the second it is."""
PATH_MAX: Final = 8192
"""Characters of a request's path with its query."""
HEADERS_MAX: Final = 64
HEADER_VALUE_MAX: Final = 8192
"""Headers of a request or an answer and the length of one."""
ANSWER_HEADERS_MAX: Final = 32 * 1024
"""Characters of all headers of an answer together, each at most two bytes as JSON: beside the largest body
they still fit one message."""
READER_AHEAD_MAX: Final = 65_536
"""Lines a peer's reader keeps while an earlier one is missing."""
ASK_SILENCE_S: Final = 30.0
"""`relay ask` gives up when nothing came for this long: three keepalives."""

# -- what is shown of words from elsewhere ------------------------------------------------
WORDS_MAX: Final = 160
"""Characters of a text."""
LISTED_MAX: Final = 6
"""Names in one line."""
