"""Every number of the farm, with its unit and the reason for it.

Names end in their unit: _S seconds, _MS milliseconds, _B bytes; without one they count things.
"""

from typing import Final

# -- defaults of the command line ---------------------------------------------------------
FRONT_PORT: Final = 8080
"""Where clients talk to the farm; the published default."""
OLLAMA_PORT: Final = 11434
"""Ollama's own; the published default of the back port. What answers there already is adopted."""
BACK_PORT: Final = 11435
"""Where the embedded backend listens. 11434 stays free: it belongs to an Ollama of the user's own."""
NUM_PARALLEL: Final = 4
NUM_PARALLEL_MAX: Final = 64
"""Streams at the same time; the published default, and what one CPU engine can hold in memory."""
OLLAMA_PARALLEL_MAX: Final = 512
"""The same for an Ollama; its memory grows with each."""
WAITING_LIMIT: Final = 100_000
"""The longest queue an owner may ask for."""
CTX: Final = 4096
CTX_MAX: Final = 2_000_000
"""Context of one stream of an Ollama in tokens: the published default, and more than any model has."""
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
LAST_WORDS_SHOWN: Final = 3
"""Lines of a server's log in a message, where none of them tells the reason."""
CHILD_LINE_B: Final = 64 * 1024
"""The first line of a child is an address, or why there is none."""
LAST_WORDS_S: Final = 0.5
"""For the end of its log, once it has ended; it is there already, unless something else holds the pipe."""

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
SCHEMA_REPEATS_MAX: Final = 100_000
"""All of them together; a runner takes 0.05 s and 30 MB for so many."""
SCHEMA_OPTIONAL_MAX: Final = 256
"""Properties that are not required (several objects: root of the sum of cubes): Ollama itself takes 0.4 s for
300 with names that are not ASCII, and eight times as long for twice as many."""
SCHEMA_CHOICES_MAX: Final = 512
"""Ways in which one value may start: 1,000 that begin alike hold up all streams of the model for 0.9 s with a
vocabulary of 50,000 tokens; others have five times as many."""
SCHEMA_ROUNDS_MAX: Final = 2
"""Ways in which a list may hold lists of its own kind, beyond the first: with 30 a token takes a second."""
SCHEMA_MAX_B: Final = 64 * 1024
SCHEMA_TEXT_MIN_B: Final = 32 * 1024
SCHEMA_TEXT_FACTOR: Final = 4
SCHEMA_TEXT_MAX_B: Final = SCHEMA_TEXT_FACTOR * SCHEMA_MAX_B
"""Ollama cuts a grammar off at four times its schema, 32 KiB at least; half a grammar ends the runner."""
SCHEMA_VISITS_MAX: Final = 64
"""Schemas in schemas, by references too, each of which makes the names of rules longer."""
SCHEMA_REFERENCES_MAX: Final = 500
"""Ollama copies the whole schema for each."""
SCHEMA_TYPES_MAX: Final = 7
"""There are no more; Ollama copies the schema for each."""
SCHEMA_NAME_MAX: Final = 512
"""Characters of a property's name: Ollama itself dies of 15,000 that are not ASCII."""
SCHEMA_BOUND_MAX: Final = 10**15 - 1
"""A minimum above it without a maximum fills the memory without end, as does a maximum below the negative."""
SCHEMA_PATTERN_MAX: Final = 256
"""Characters of a regular expression in a schema."""
SCHEMA_WAYS_MAX: Final = 10_000
"""Ways to read one token by a pattern: two repetitions that run into each other, not three."""
TOKEN_CHARACTERS: Final = 64
"""A long token; there are some of blanks and dashes."""
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

# -- the front ------------------------------------------------------------------------------
CONNECT_S: Final = 5.0
"""TCP connect to the backend. Nothing else has a time limit: a prompt may take minutes to be read."""
FRONT_BODY_MAX_B: Final = 64 * 1024 * 1024
"""Largest request body, but for model files (/api/blobs), which go through without being kept."""
BODIES_MAX_B: Final = 512 * 1024 * 1024
"""Bodies of all requests that wait or run, together."""
BIG_BODY_B: Final = 256 * 1024
"""From here on a body is read in a thread of its own: 1 MB of JSON holds up all streams for 10 ms."""
HEAD_MAX_B: Final = 128 * 1024
"""Request line and headers; Ollama accepts single headers of 100 kB."""
HEAD_S: Final = 30.0
"""A client that has not sent its request line and headers by then is cut."""
CONNECTIONS_MAX: Final = 2048
"""Connections of clients; more are told 503."""
FILES: Final = 16_384
"""Open files that are asked of the system: two for each connection, with room to spare."""
IDLE_S: Final = 75
"""An idle connection of a client is closed after it."""
BACKLOG: Final = 1024
"""Connections the system may hold before they are accepted."""
LINGER_S: Final = 2.0
"""What a refused client still sends is thrown away for so long: a close at once would reset the connection,
and its system would drop the answer before it is read."""
PRESENCE_S: Final = 15
PRESENCE_TRIES: Final = 9
"""Silence after which the system asks whether a client's machine is still there and the pause between two
questions; how many go without an answer. Go's own figures: a client is missed as soon as by Ollama."""
STALLED_S: Final = 600.0
"""A client that takes nothing of its answer for so long is cut: it holds a slot."""
REQUEST_HIGH_B: Final = 64 * 1024
"""Bytes of a request's body that wait to be taken; above it the client is not read."""
BODY_WAIT_S: Final = 30.0
BODY_RATE_B: Final = 1024
"""A request's body may be waited for so long, and a second more for each so many bytes that have come: a bad
radio link is faster, and whoever is slower wants to hold connections."""
COURIER_HIGH_B: Final = 256 * 1024
"""Bytes of an answer that wait for a slow client; above it the backend is not read."""
COURIER_PIECE_B: Final = 64
"""What a waiting piece of an answer costs beside its bytes."""
COURIER_SLICE_B: Final = 256 * 1024
"""Bytes of a request handed to the system at once."""
SPARES: Final = 64
"""Connections to one backend that are kept for the next request; a request more than that costs 0.7 ms."""
SPARE_S: Final = 20.0
"""One that waited for so long is closed; Ollama itself keeps them for ever."""
STALE_S: Final = 0.1
"""A kept connection that breaks off so soon was closed before the request came; later, the request did it."""
TRIES: Final = 2
"""Attempts at a backend that breaks off before its answer begins. No third: the request may be the cause."""
SHOWN_NAME_MAX: Final = 200
"""Characters of a model's name that /_requests shows; a client may write there what it likes."""
NAMED_MODELS_MAX: Final = 100
"""Models whose tokens are counted by name; those that come later are counted together."""
TRY_AGAIN_S: Final = 0.1
"""Pause before the second attempt: a server that was killed takes connections for some ms more."""
RETRY_AFTER_MIN_S: Final = 1
RETRY_AFTER_MAX_S: Final = 60
"""Bounds of Retry-After; between them it is the time in which the queue moves up by one."""
WITNESS_TAIL_B: Final = 2048
"""The end of an answer, where the counts of tokens stand."""
WITNESS_LINE_B: Final = 1024 * 1024
"""A line is looked at whole up to here; the last line of a native stream lists all tokens of its prompt."""
WITNESS_HEAD_B: Final = 4096
"""What is looked at of a longer line; `done` stands before the tokens."""
GHOST_S: Final = 600.0
"""The longest a slot is kept for a client that left while its prompt was read."""
REST_S: Final = 0.3
"""A runner that used no processor for so long has nothing to do; it works in steps of a few ms."""
REST_EVERY_S: Final = 0.1
PROMPT_RATE: Final = 20.0
"""Tokens of a prompt read in a second until the backend has told: a slow processor's."""
PROMPT_TOKENS: Final = 100
"""A prompt at least so long tells how fast prompts are read."""
PROMPT_BYTES_PER_TOKEN: Final = 3
"""A low guess, so that a prompt is not taken for shorter than it is."""

# -- a backend's life -----------------------------------------------------------------------
LOOK_S: Final = 20.0
"""A command that only looks at the machine; docker may take seconds to answer the first time."""
LOOK_KILLED_S: Final = 1.0
"""For such a command to end once it is killed; then it is left behind."""
HEALTH_S: Final = 3.0
"""The backend's time to answer the farm's questions; it takes 4 ms under full load."""
HEALTH_EVERY_S: Final = 1.0
HEALTH_DOWN_EVERY_S: Final = 0.1
"""Pause between two questions; shorter while it is down, for a client may wait."""
HEALTH_BAD: Final = 3
"""Answers in a row that must fail before no request is sent there."""
HEALTH_GOOD: Final = 2
"""Answers in a row that must come before requests are sent there again."""
START_S: Final = 60.0
"""From start to the first answer; a real one takes 0.1 to 1 s, a container more. Then it is started again."""
STOP_S: Final = 5.0
"""After it was asked to end; then it is killed."""
GPUS_MAX: Final = 16
"""GPUs of one machine; on so many ports from the first is looked for what an earlier farm left."""
HOLDER_EVERY_S: Final = 30.0
"""Pause between two looks who has an adopted Ollama's port, when nobody was found: all sockets of the machine
are walked, for some 50 ms in which no stream goes on."""
END_EVERY_S: Final = 0.05
"""Pause between two looks whether a process that was asked to end has ended."""
GUARD_STOP_S: Final = 50.0
"""For a guard to end its server, what that left behind, and a container; then the guard is killed."""
RESTART_FIRST_S: Final = 0.5
RESTART_MAX_S: Final = 30.0
"""The first restart is at once, then these are the shortest and the longest pause."""
RESTART_STEADY_S: Final = 60.0
"""A backend that lived so long may be restarted at once again."""
PULL_SILENT_S: Final = 300.0
"""Silence of a pull after which it is given up; checking a large file takes minutes."""
LOAD_S: Final = 3600.0
"""The longest load: some 100 GB from a slow disk."""
WATCH_EVERY_S: Final = 2.0
"""Pause between two looks at runners that somebody waits for."""
WATCH_WINDOW_S: Final = 20.0
"""Silence without any use of the machine after which a runner hangs."""
WATCH_LOAD_S: Final = 6.0
"""The same for a load, which never pauses. One that waits for a place is helped by asking again: Ollama
lets it wait for a busy model until the `keep_alive` of that has run out."""
WATCH_BLIND_S: Final = 600.0
"""The same where the runner cannot be looked at: nothing tells a hang from a very long prompt."""
WATCH_CPU_S: Final = 0.02
"""Processor time of a runner between two looks that counts as work; a stopped one uses none at all."""
PROCESS_LOG: Final = 40
"""Lines of a backend's log that are kept to be shown when it ends."""
