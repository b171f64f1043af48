"""What `--debug` shows on a terminal: facts, width and height in, lines out.

Pure: no line is wider than the terminal, there are never more than it has rows, and nothing in them moves
a cursor. Drawn by `terminal`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, takewhile
from typing import Any

from relay.runs import Glimpse
from wire import redact

_PACE_S = 3.0
"""Lines a second are those of so long."""
_NAMES = {"unsealed_dropped": "unsealed", "undecipherable_dropped": "undecipherable",
          "sessions_dropped": "session"}  # fmt: skip
_QUIT = "q quits"


@dataclass(frozen=True, slots=True)
class Row:
    """A request: what was seen of it, lines a second, seconds since it came."""

    seen: Glimpse
    rate: float
    age_s: float


@dataclass(frozen=True, slots=True)
class Facts:
    """A relay at one moment.

    Attributes:
        uptime_s: since its start.
        workers: requests that can run at once.
        rows: requests that run or wait.
        counts: see `Pump.statistics`.
        news: lines of the journal, the newest last.
    """

    address: str
    version: str
    uptime_s: float
    workers: int
    rows: Sequence[Row] = ()
    counts: Mapping[str, Any] = field(default_factory=dict)
    news: Sequence[str] = ()


class Paces:
    """Lines a second of each request."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[float, int]]] = {}

    def rows(self, glimpses: Iterable[Glimpse], now: float) -> list[Row]:
        """What was seen at a time, with its paces; who is not seen any more is forgotten."""
        rows, kept = [], {}
        for one in glimpses:
            seen = kept[one.tag] = self._seen.get(one.tag) or deque([(now, one.lines)])
            while len(seen) > 1 and now - seen[0][0] > _PACE_S:
                seen.popleft()
            since, lines = seen[0]
            seen.append((now, one.lines))
            rate = (one.lines - lines) / (now - since) if now > since else 0.0
            rows.append(Row(one, rate, now - one.since))
        self._seen = kept
        return rows


def draw(facts: Facts, width: int, height: int) -> list[str]:
    """The whole screen."""
    width, height = max(1, width), max(1, height)
    head, foot = _head(facts, width), _totals(facts, width)
    room = max(0, height - len(head) - len(foot) - 2)
    table = _table(facts.rows, width, room)
    lines = [*head, *table, "", *foot]
    left = height - len(lines) - 1
    if facts.news and left > 0:
        lines += ["", *(fit(redact.printable(line, 400), width) for line in list(facts.news)[-left:])]
    return lines[:height]


def _head(facts: Facts, width: int) -> list[str]:
    parts = facts.counts.get("nkn", {}).get("parts", {}).values()
    up = sum(bool(part.get("ready")) for part in parts)
    title = f"relay {facts.version} · up {span(facts.uptime_s)} · NKN {up} up, {len(parts) - up} down"
    gap = width - _wide(title) - len(_QUIT)
    title = f"{title}{' ' * gap}{_QUIT}" if gap > 1 else title
    address = redact.printable(facts.address, 400)
    running = f"running {facts.counts.get('running', 0)} of {facts.workers}"
    waiting = f"waiting {facts.counts.get('waiting', 0)}"
    return [fit(title, width), *_wrapped(address, width), "", fit(f"{running} · {waiting}", width)]


def _table(rows: Sequence[Row], width: int, room: int) -> list[str]:
    if not rows or room < 2:
        return []
    columns = _columns(width)
    lines = [_line([(name, wide, right) for name, wide, right, _ in columns], width)]
    shown = rows if len(rows) <= room - 1 else rows[: room - 2]
    for row in shown:
        cells = {
            "tag": str(row.seen.tag), "peer": row.seen.peer, "path": row.seen.path, "state": row.seen.state,
            "lines": str(row.seen.lines), "lines/s": f"{row.rate:.1f}", "age": span(row.age_s),
        }  # fmt: skip
        lines.append(_line([(cells[name], wide, right) for name, wide, right, _ in columns], width))
    if len(shown) < len(rows):
        lines.append(fit(f"… and {len(rows) - len(shown)} more", width))
    return lines


_COLUMNS = (
    ("tag", 5, True, 0), ("peer", 9, False, 38), ("path", 0, False, 64), ("state", 10, False, 0),
    ("lines", 6, True, 24), ("lines/s", 7, True, 48), ("age", 6, True, 30),
)  # fmt: skip
"""Name, width, whether it stands on the right, and the terminal's width from which it is shown."""


def _columns(width: int) -> list[tuple[str, int, bool, int]]:
    chosen = [column for column in _COLUMNS if width >= column[3]]
    rest = width - sum(wide + 1 for _, wide, _, _ in chosen)
    return [(name, wide or rest, right, least) for name, wide, right, least in chosen]


def _line(cells: Iterable[tuple[str, int, bool]], width: int) -> str:
    return fit(" ".join(_cell(text, wide, right=right) for text, wide, right in cells).rstrip(), width)


def _cell(text: str, wide: int, *, right: bool) -> str:
    shown = fit(redact.printable(text, 400), wide)
    pad = " " * (wide - _wide(shown))
    return pad + shown if right else shown + pad


def _totals(facts: Facts, width: int) -> list[str]:
    counts, nkn = facts.counts, facts.counts.get("nkn", {})
    ended = Counter({name: count for name, count in counts.items() if name.startswith("ended_")})
    refused = sum(count for name, count in counts.items() if name.startswith("refused_"))
    failed = ended.total() - ended["ended_ok"]
    said = [
        f"answered {ended['ended_ok']}", f"failed {failed}", f"refused {refused}",
        f"sent {nkn.get('sent', 0)} frames, {size(counts.get('bytes_out', 0))}",
        f"got {size(counts.get('bytes_in', 0))}", f"kept {size(counts.get('retained_b', 0))}",
    ]  # fmt: skip
    drops = Counter({_drop(name): count for name, count in {**nkn, **counts}.items() if _drop(name)})
    words = [f"{reason} {count}" for reason, count in drops.most_common() if count]
    dropped = f"dropped {drops.total()}" + (f": {', '.join(words)}" if words else "")
    return [*_flowing(said, width), fit(dropped, width)]


def _drop(name: str) -> str:
    """Why something was dropped, of a counter that says so; else ""."""
    return name.removeprefix("dropped_") if name.startswith("dropped_") else _NAMES.get(name, "")


def _flowing(words: Iterable[str], width: int) -> list[str]:
    """Words in as few lines as they need."""
    lines: list[str] = []
    for word in words:
        if lines and _wide(lines[-1]) + _wide(word) + 3 <= width:
            lines[-1] += f" · {word}"
        else:
            lines.append(fit(word, width))
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """All of a text that has to be copied; without room for it, its beginning."""
    if width < 20 or _wide(text) != len(text):
        return [fit(text, width)]
    return [text[at : at + width] for at in range(0, len(text), width)]


def fit(text: str, width: int) -> str:
    """A text in so many columns; what does not fit is cut off."""
    if _wide(text) <= width:
        return text
    used = accumulate(_columns_of(char) for char in text)
    kept = sum(1 for _ in takewhile(lambda columns: columns < width, used))
    return f"{text[:kept]}…"


def _wide(text: str) -> int:
    """Columns that a terminal needs for it."""
    return len(text) if text.isascii() else sum(_columns_of(char) for char in text)


def _columns_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def span(seconds: float) -> str:
    """A time in six columns."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s" if seconds < 59.5 else "59 s"


def size(count: float) -> str:
    """Bytes for people."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.1f} {unit}"
    return f"{count:.0f} B"
