"""Every number of the bench, with its unit and the reason for it.

Names end in their unit: _S seconds, _B bytes; without one they count things.
"""

from typing import Final

# -- defaults of the command line ---------------------------------------------------------
URL: Final = "http://127.0.0.1:8080"
"""The farm's front, as `farm.limits.FRONT_PORT` has it."""
CONCURRENCY: Final = "1,2,4,8"
"""Clients per step: from alone to twice the farm's default of slots."""
REQUESTS: Final = 16
"""Requests per step; every default step divides it, so that no client idles at the end."""
MAX_TOKENS: Final = 128
"""Tokens per answer: seconds on a CPU, long enough for a rate."""
WARMUP: Final = 1
"""Requests before the first step: one loads the model."""
TIMEOUT_S: Final = 600.0
"""One request from its sending to its end mark; a large model may take minutes to load."""

# -- bounds of the command line -----------------------------------------------------------
CONCURRENCY_MAX: Final = 512
"""Clients, or requests of an open load, at the same time: each is a socket, and a process usually may open
1,024 files."""
RATE_MAX: Final = 1000.0
"""Arrivals per second: beyond it one Python process measures itself."""
STEPS_MAX: Final = 32
REQUESTS_MAX: Final = 100_000
"""Requests per step; their times are kept until the step is over, 8 bytes a token and 0.5 kB besides."""
DURATION_MAX_S: Final = 24 * 3600.0
TOKENS_MAX: Final = 1_000_000
WARMUP_MAX: Final = 1000
SEED_MAX: Final = 2**31 - 1
"""Largest seed that llama.cpp takes as it is; the request's number is added and wraps around."""
PROMPTS_MAX_B: Final = 64 * 1024 * 1024
"""Largest prompt file; it is held in memory."""
RESULT_MAX_B: Final = 16 * 1024 * 1024
"""Largest result file read for a comparison; 32 steps take some 60 kB."""

# -- the load -------------------------------------------------------------------------------
ASK_S: Final = 10.0
"""One question about version or models; they need no model, so any server answers at once."""
REUSE_S: Final = 2.0
"""A connection idle for longer is not used again: servers close theirs after 5 s and more, and a request that
meets the closing would be counted as the server's failure."""
DRAIN_S: Final = 0.5
"""Wait for the end of HTTP behind the end mark; without it the connection is closed instead of used again."""
PAUSE_S: Final = 0.1
"""A client whose request failed waits so long before the next: a refused one fails in a millisecond, and a
loop of those would be an attack."""
LINE_MAX_B: Final = 32 * 1024 * 1024
"""One line of an answer; Ollama's last line held 12.5 MB after a prompt of 10 MB."""
READ_B: Final = 64 * 1024
"""Buffer of one connection; a longer line comes in several reads."""
ERROR_BODY_B: Final = 4096
ERROR_BODY_S: Final = 2.0
"""Bytes read of an error's body, and how long: its text is an example in the report."""
WORDS_MAX: Final = 160
"""Characters kept of such a text."""
LISTED_MAX: Final = 10
"""Models named in a message."""

# -- the screen -----------------------------------------------------------------------------
TICK_S: Final = 0.2
"""Pause between two drawings of the progress bar."""
STEP_PERCENT: Final = 20
"""Where the output is no terminal: one line for this much progress of a step."""
BUSY: Final = 0.7
BUSY_S: Final = 1.0
"""Share of a core from which on the bench itself may be what is slow, and says so; and the shortest step of
which that can be said, since opening connections takes a moment of work."""
LATE_S: Final = 0.05
"""Requests that left so much later than due (p99) were held up by the bench or its machine, and it says so;
its timer alone is late by 1 ms."""
