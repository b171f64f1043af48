"""Every number of the doctor, with its unit and the reason for it.

Names end in their unit: _S seconds, _B bytes, _MIB mebibytes; without one they count things.
"""

from typing import Final

# -- looking ------------------------------------------------------------------------------------
COMMAND_S: Final = 8.0
"""A command that looks: nvidia-smi takes 5 s on eight GPUs without persistence mode, docker 2 s when busy."""
PROBE_S: Final = 30.0
"""All looking together: three commands after each other, and some. What has not told by then is left out."""
HTTP_S: Final = 2.0
"""One question to a server of this machine; Ollama answers in 4 ms under full load."""
ROUND_S: Final = 6.0
"""All questions to the servers of this machine, side by side; some answer slowly for ever."""
FAR_HTTP_S: Final = 5.0
"""The same to `--front` elsewhere."""
ANSWER_MAX_B: Final = 4 * 1024 * 1024
"""Most that is read of one answer; a list of 1,000 models has 400 kB."""
MANIFESTS_MAX: Final = 2000
MANIFEST_MAX_B: Final = 256 * 1024
"""Files of model descriptions that are read, and the longest; real ones have 1 kB."""

# -- judging ------------------------------------------------------------------------------------
GPU_FREE_SHARE: Final = 0.5
"""Share of a GPU's memory that should be free, unless Ollama itself has it."""
MEMORY_LOW_B: Final = 2 * 1024**3
"""Available memory below which even a small model is slow to load; a 1B model takes 1.3 GB."""
DISK_LOW_B: Final = 10 * 1024**3
DISK_OUT_B: Final = 1024**3
"""Free disk below which the next model may not fit, and below which nothing does."""

# -- trying -------------------------------------------------------------------------------------
TRY_AT_ONCE: Final = 4
TRY_AT_ONCE_MAX: Final = 64
"""Requests of `--try`: as many as the farm runs by default, and at most."""
TRY_TOKENS: Final = 48
"""Tokens of each answer: long enough that answers which could overlap do, and little else."""
TRY_EDGE: Final = 0.1
"""Share of an answer's time that is left out at either end: the next one begins as the last token arrives."""
TRY_LOAD_S: Final = 600.0
TRY_SILENT_S: Final = 120.0
"""The load of the model, and the longest silence of an answer: a prompt of ten words is read in seconds."""
TRY_LINE_B: Final = 1024 * 1024
"""Longest line of an answer."""
