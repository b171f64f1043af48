"""Every knob and every clock in a few words, for `--help`.

Pure data; used by `command`. The long words stand in `faults` and `times`.
"""

FAULTS = {
    "only": "what concerns single clients concerns those whose address contains this text",
    "loss": "chance (0 to 1) that a frame vanishes",
    "duplicate": "chance that it arrives twice",
    "reorder": "chance that later ones overtake it",
    "reorder_ms": "how long it is held back at most",
    "delay_ms": "how long each frame takes",
    "jitter_ms": "up to this much more or less",
    "path_delay_ms": "more delay for single sub-clients, such as 0=20,1=200",
    "black_hole": "sub-clients whose frames all vanish, such as 0,2; -1 is the original client",
    "uplink_bps": "bytes a second read from a client, 0 for all that come",
    "downlink_bps": "bytes a second written to a client, 0 for all it takes",
    "cut_every_s": "cut each socket when it is this old",
    "cut_after_frames": "cut each socket after so many frames",
    "mute": "write nothing more to registered clients",
    "shuffle": "messages overtake each other, 1 as in a real node, 3 three times as late",
    "freeze_at_block": "a block stops all deliveries while one client does not take what is written to it",
    "no_challenge": "send no authChallenge",
    "refuse": "refuse every setClient as badly signed",
    "wrong_node": "so many setClient are answered with 48001",
    "wrong_node_push_s": "tell each client this often to go elsewhere",
    "wrong_node_addr": "host:port that is named then",
    "rpc_failure": "refuse, 500, 429, slow, garbage, error or joining instead of RPC answers",
    "rpc_failures": "so many of them, 0 for all",
    "rpc_addr": "host:port that RPC sends all clients to",
    "usurp": "take the addresses of the whole ring for its own",
    "rate_burst": "RPC requests, and connections, of one IP at once, then 10 a second; 0 is no limit",
    "frozen": "read, write and answer nothing",
    "no_receipts": "never ask for a receipt",
    "held_first": "chance that held messages come before the setClient answer",
}

TIMES = {
    "ping_s": "between two pings",
    "pong_timeout_s": "silence after which a client is dropped",
    "write_stall_s": "a longer write makes a zombie",
    "refused_close_s": "until the socket of a badly signed setClient is closed",
    "hold_purge_s": "between two purges of held messages",
    "redeliver_s": "until a delivered message that may be held is looked at again",
    "rehome_s": "between two looks for clients of other nodes",
    "frozen_leave_s": "until the ring does without a frozen node",
    "rpc_read_s": "for an RPC request to arrive",
    "rpc_slow_s": "for a slow RPC answer",
    "first_block_s": "until the first block hash",
    "block_s": "between block hashes, 0 for none",
    "idle_block_s": "the same while no message is receipted",
}
