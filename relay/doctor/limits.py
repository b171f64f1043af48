"""Every number of the relay's doctor, with its unit and the reason for it."""

from typing import Final

ANSWER_S: Final = 3.0
"""One question to a seed, a bridge or a target: what takes longer makes the relay wait as well."""
ALL_S: Final = 4.0
"""All of them, side by side; a name that does not resolve is left behind then."""
ANSWER_MAX_B: Final = 4 * 1024 * 1024
"""Most that is read of one answer; a list of 1,000 models has 400 kB."""
CLOCK_S: Final = 60.0
"""A clock that is wrong by more makes certificates invalid and the times in frames useless."""
