"""What is put through the proxies, as data: who stands in front of the upstream, and under which load.

Pure; read by `proxies` and `proxy_tables`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NATIVE = "/api/generate"
OPENAI = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Way:
    """How a line comes to its reader.

    Attributes:
        name: as the tables have it.
        peer: who is asked: "farm", "nginx", "litellm", or empty for the upstream itself.
        path: the route; lines of JSON, or events of OpenAI's API.
    """

    name: str
    peer: str = ""
    path: str = NATIVE


DIRECT = Way("direct")
OURS = Way("ours", "farm")
NGINX = Way("nginx", "nginx")
DIRECT_V1 = Way("direct, /v1", path=OPENAI)
OURS_V1 = Way("ours, /v1", "farm", OPENAI)
LITELLM = Way("LiteLLM, /v1", "litellm", OPENAI)
WAYS = (DIRECT, OURS, NGINX, DIRECT_V1, OURS_V1, LITELLM)
PEERS = ("farm", "nginx", "litellm")
BASES = {NATIVE: DIRECT, OPENAI: DIRECT_V1}
"""What a way is held against: the same route without anybody between."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients do: each asks, reads to the end, and asks again on the same connection.

    Attributes:
        streams: clients, and so streams at the same time.
        rate: lines a second of each stream, 0 for no pause.
        lines: of each stream, 0 for streams without end.
        seconds: that are measured.
        warm_s: before that.
        together: all ask at the same moment; else their beginnings are spread over the length of a stream.
    """

    streams: int
    rate: int
    lines: int
    seconds: float
    warm_s: float
    together: bool = False

    @property
    def gap_s(self) -> float:
        """Between the first requests of two clients."""
        return self.lines / self.rate / self.streams if self.rate and not self.together else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One load, put on each way in turn, so many rounds.

    Attributes:
        key: its name on the command line.
        table: "pace", "flat" or "together".
    """

    key: str
    table: str
    rounds: int
    load: Load
    ways: tuple[Way, ...] = WAYS

    def order(self, number: int) -> tuple[Way, ...]:
        """The ways of one round: every other one backwards."""
        return self.ways if number % 2 == 0 else self.ways[::-1]


STREAMS = (1, 8, 64)
RATE = 50
"""Lines a second of one stream: a small model on one GPU that serves 64 at once, 3,200 together."""
LINES = 50
"""Of one answer: a second. Short ones are the hard case, since a request costs more than a line."""
_PACE_S = {1: 10.0, 8: 6.0, 64: 6.0}
"""One stream begins only once a second."""
_FLAT_S = 2.0
_WARM_S = 1.2
_FLAT_WARM_S = 0.5
_ROUNDS = 3
_QUICK_S = 2.0

FULL = (
    *(Case(f"pace{n}", "pace", _ROUNDS, Load(n, RATE, LINES, _PACE_S[n], _WARM_S)) for n in STREAMS),
    Case("together64", "together", _ROUNDS, Load(64, RATE, LINES, 4.0, _WARM_S, together=True)),
    *(Case(f"flat{n}", "flat", _ROUNDS, Load(n, 0, 0, _FLAT_S, _FLAT_WARM_S)) for n in STREAMS),
)


def chosen(
    *,
    only: list[str] | None,
    peers: list[str],
    quick: bool,
    rounds: int | None = None,
    seconds: float | None = None,
) -> list[Case]:
    """The cases of a run.

    Args:
        only: their keys, None for all.
        peers: who takes part; what they are held against always does.
        quick: one short round.
        rounds: instead of each case's own.
        seconds: that are measured, instead of each case's own.
    """
    if quick:
        rounds = rounds or 1
        seconds = seconds or _QUICK_S
    ways = tuple(way for way in WAYS if way.peer in peers)
    bases = {BASES[way.path] for way in ways}
    taking_part = tuple(way for way in WAYS if way in ways or way in bases)
    return [
        replace(
            case,
            rounds=rounds or case.rounds,
            load=replace(case.load, seconds=seconds or case.load.seconds),
            ways=taking_part,
        )
        for case in FULL
        if only is None or case.key in only
    ]
