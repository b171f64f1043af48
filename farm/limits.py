"""Every number of the farm, with its unit and the reason for it.

Names end in their unit: _S seconds, _MS milliseconds, _B bytes; without one they count things.
"""

from typing import Final

# -- defaults of the command line ---------------------------------------------------------
FRONT_PORT: Final = 8080
"""Where clients talk to the farm; the published default."""
BACK_PORT: Final = 11435
"""Where the embedded backend listens. 11434 stays free: it belongs to an Ollama of the user's own."""
NUM_PARALLEL: Final = 4
NUM_PARALLEL_MAX: Final = 64
"""Streams at the same time; the published default, and what one CPU engine can hold in memory."""
SLOT_TOKENS: Final = 2048
SLOT_TOKENS_MIN: Final = 256
"""Context of one stream in tokens, and the least with which a chat makes sense."""
KEEP_ALIVE: Final = "1h"
"""How long an idle model stays in memory; the published default of the farm (Ollama's own is 5m)."""

# -- the model file -------------------------------------------------------------------------
FETCH_CONNECT_S: Final = 15.0
FETCH_READ_S: Final = 60.0
"""Silence on the way to the package index after which an attempt is given up (it can be resumed)."""
FETCH_ATTEMPTS: Final = 4
"""Attempts in a row that bring nothing new before the other way is tried."""
FETCH_BLOCK_B: Final = 16 * 1024
"""One read from the index: what a broken connection costs at most."""
INDEX_QUERY_S: Final = 120.0
"""How long pip may take to name the file."""
INDEX_DOWNLOAD_S: Final = 1800.0
"""How long pip may take to bring it when the direct way failed."""
PROGRESS_TICK_S: Final = 0.2
"""Pause between two drawings of the progress bar."""
PROGRESS_STEP_PERCENT: Final = 10
"""Where the output is no terminal: one line for this much progress."""

# -- the engine child -----------------------------------------------------------------------
ENGINE_START_S: Final = 120.0
"""A cold disk and a slow core load the shipped model in less than a tenth of it."""
ENGINE_STOP_S: Final = 1.0
"""After its stdin is closed the child leaves at once; after this long it is killed."""
ENGINE_BATCH: Final = 512
"""Tokens per step of prefill, over all slots; also the longest text for one embedding. A larger
value costs 0.2 MB of memory per token."""
WAITING_MAX: Final = 512
"""Requests that may wait for their turn or for the load; more are told to come again. As OLLAMA_MAX_QUEUE."""
LAST_WORDS: Final = 12
"""Lines of the engine's log that are shown when it does not start."""

# -- the Ollama API -------------------------------------------------------------------------
BODY_MAX_B: Final = 64 * 1024 * 1024
"""Largest request body of the adapter; images come as base64, a long chat is below 1 MB."""
WHOLE_MAX_B: Final = 2048
"""Bodies up to this size carry a Content-Length, longer ones are chunked, as Go's server does it."""
SCHEMA_DEPTH_MAX: Final = 32
SCHEMA_NODES_MAX: Final = 2000
"""A `format` schema nested deeper or larger than this is refused: compiling it would stall every stream."""
SCHEMA_REPEAT_MAX: Final = 2000
"""Largest minLength, maxItems and the like: beyond it the real runner crashes."""
SCHEMAS_KEPT: Final = 64
"""Schemas that are known to compile, or not to: apps use the same few again and again."""
JSON_DEPTH_MAX: Final = 10_000
"""Nested arrays and objects of a request; Go's own limit."""
JSON_WALK_MAX: Final = 150_000
"""Values walked over to say what is wrong with a JSON text before it is only said that something is: the walk
holds up all other requests, some 0.25 s for so many."""
PREDICT_PER_CONTEXT: Final = 10
"""`num_predict` is capped at this many contexts; as Ollama does."""
KEEP_TOKENS: Final = 4
"""Tokens kept at the front of a prompt that is cut, unless `num_keep` says otherwise; Ollama's default."""
TOP_LOGPROBS_MAX: Final = 20
"""As Ollama and OpenAI have it."""

# -- the proxy ------------------------------------------------------------------------------
CONNECT_S: Final = 5.0
"""TCP connect to the backend. Nothing else has a time limit: a prompt may take minutes to be read."""
HEALTH_S: Final = 3.0
"""The backend's answer to /_health's questions."""
HEAD_MAX_B: Final = 128 * 1024
"""Request line and headers; Ollama accepts single headers of 100 kB."""
IDLE_S: Final = 75
"""An idle connection of a client is closed after it."""
BACKLOG: Final = 1024
"""Connections the system may hold before they are accepted."""
