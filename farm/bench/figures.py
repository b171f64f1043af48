"""The figures of one step, out of its answers.

Latencies count from the moment a request was due, so that a late client or a server that holds up everything
cannot hide the wait it causes. Failed requests are counted, and in nothing else.
Pure; called by `run`, read by `record`, `tables`, `comparison` and `plot`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from farm.bench import answer
from farm.bench.answer import Answer
from farm.bench.plan import Kind, Step
from farm.bench.spread import Spread, spread

SERVER = "server"
CHUNKS = "chunks"
MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Figures:
    """One step. Spreads are None where nothing was measured; times are seconds.

    Attributes:
        kind, level: the step's load.
        complete: False if it was interrupted.
        wall_s: from the step's begin to its last answer.
        cpu_s: processor time of the bench itself in that time.
        requests: answers and failures; what an interruption left behind is in neither.
        ok: whole answers.
        errors: failures by kind.
        examples: the words of the first failure of each kind.
        requests_per_s: whole answers per second of `wall_s`.
        latency_s: from due to end mark.
        first_byte_s: from due to status and headers.
        ttft_s: from due to the first non-empty token.
        icl_s: between chunks that hold a token.
        tokens: generated tokens of the whole answers.
        tokens_from: `server` as it told them, `chunks` counted, `mixed` some of both.
        tokens_per_s: `tokens` per second of `wall_s`.
        stream_tokens_per_s: of one answer, from its first to its last chunk.
        queue_s: Ollama's own wait for a slot.
        outside_s: `latency_s` without the time Ollama says it took: the way and whatever queues in front.
        late_s: from due to sent: what the bench itself delayed.
    """

    kind: Kind
    level: float
    complete: bool
    wall_s: float
    cpu_s: float
    requests: int
    ok: int
    errors: dict[str, int]
    examples: dict[str, str]
    requests_per_s: float
    latency_s: Spread | None
    first_byte_s: Spread | None
    ttft_s: Spread | None
    icl_s: Spread | None
    tokens: int
    tokens_from: str
    tokens_per_s: float
    stream_tokens_per_s: Spread | None
    queue_s: Spread | None
    outside_s: Spread | None
    late_s: Spread | None

    @property
    def step(self) -> Step:
        """The load it was measured under."""
        return Step(self.kind, self.level)


def figures(
    step: Step, answers: Sequence[Answer], wall_s: float, cpu_s: float, *, complete: bool = True
) -> Figures:
    """What a step's answers come to."""
    whole = [one for one in answers if one.whole]
    failures = [one.failure for one in answers if one.failure is not None]
    tokens = sum(_tokens(one) for one in whole)
    return Figures(
        kind=step.kind,
        level=step.level,
        complete=complete,
        wall_s=wall_s,
        cpu_s=cpu_s,
        requests=len(answers),
        ok=len(whole),
        errors=dict(sorted(Counter(failure.kind for failure in failures).items())),
        examples={failure.kind: failure.words for failure in reversed(failures)},
        requests_per_s=_per(len(whole), wall_s),
        latency_s=spread(one.end - one.due for one in whole),
        first_byte_s=spread(one.head - one.due for one in whole if one.head is not None),
        ttft_s=spread(one.first - one.due for one in whole if one.first is not None),
        icl_s=spread(gap for one in whole for gap in one.gaps),
        tokens=tokens,
        tokens_from=_source(whole),
        tokens_per_s=_per(tokens, wall_s),
        stream_tokens_per_s=spread(_stream_rates(whole)),
        queue_s=spread(one.spent.queue_s for one in whole if one.spent),
        outside_s=spread(max(0.0, one.end - one.due - one.spent.total_s) for one in whole if one.spent),
        late_s=spread(
            one.sent - one.due
            for one in answers
            if one.failure is None or one.failure.kind != answer.OVERFLOW
        ),
    )


def _tokens(one: Answer) -> int:
    return one.chunks if one.tokens is None else one.tokens


def _source(whole: Sequence[Answer]) -> str:
    told = sum(one.tokens is not None for one in whole)
    if told == len(whole):
        return SERVER if whole else CHUNKS
    return MIXED if told else CHUNKS


def _stream_rates(whole: Iterable[Answer]) -> Iterable[float]:
    """Tokens after the first per second; an answer of one chunk has no rate."""
    for one in whole:
        if one.first is not None and one.last is not None and one.last > one.first:
            yield (_tokens(one) - 1) / (one.last - one.first)


def _per(count: float, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
