"""What the engine wants done: values that the shells carry out.

Pure; made by `engine`, carried out by `pump`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from relay.policy import UpstreamRequest
from wire.record import record


class Effort(Enum):
    """How much is done for a message to arrive.

    ONCE on all paths: the next one replaces it, or the peer asks again.
    SURE on all paths, again until acknowledged: what a stream cannot be without.
    LEAN on the best path, again on all until acknowledged: what there is much of.
    SPARE as ONCE, if little waits for the sockets: what a peer asked for again, and may once more.
    """

    ONCE = "once"
    SURE = "sure"
    LEAN = "lean"
    SPARE = "spare"


@record
class Send:
    """A direct message to a peer; with a tag, its acknowledgement is to be reported with `number`."""

    dest: str
    text: str
    tag: int | None = None
    number: int | None = None
    effort: Effort = Effort.ONCE


@dataclass(frozen=True, slots=True)
class Start:
    """Hand a request to a worker."""

    tag: int
    request: UpstreamRequest


@dataclass(frozen=True, slots=True)
class Abort:
    """Close the upstream connection of a request at once."""

    tag: int


@record
class Gather:
    """From now on a little that comes for this request may wait for its window, or not any more."""

    tag: int
    lazy: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """Read no further from the upstream of a request, or go on."""

    tag: int
    held: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask every target whether it answers."""

    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator may want to see; never a prompt, never a secret."""

    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


Command = Send | Start | Abort | Gather | Hold | Probe | Note
