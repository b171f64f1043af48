"""What a recorded value and ours have in common, and the differences in words.

What must vary from node to node (challenges, hashes, keys, ports, ids of sessions, dates) may vary, but only
consistently: a value of the recording stands for one of ours and for no other, all through a case.
Knows the shapes of values, nothing of connections; used by the players.
"""

import json
import re

from nkn.recorded import recording

from relay.nkn import address


class Literally(str):
    """Words that stand for themselves."""

    __slots__ = ()


NOTHING = Literally("nothing")


def shown(value):
    """A value in a sentence."""
    if isinstance(value, Literally):
        return str(value)
    text = re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1…", json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 90 else f"{text[:80]}… ({len(text)} characters)"


SHAPES = (
    re.compile(r"[0-9a-f]{64}"),
    re.compile(r"(tcp://)?127\.0\.0\.1:\d+"),
    re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|<date>"),
    re.compile(r"NKN[1-9A-HJ-NP-Za-km-z]{33}"),
)
"""Hash or key, socket address, uuid, HTTP date, wallet address: a value of one may stand for another."""
_WORDS = tuple(Literally(f"another {word}") for word in ("hash", "address", "uuid", "date", "wallet"))
COUNTED = {"currTimeStamp", "uptime", "jsonRpcPort", "websocketPort", "tlsJsonRpcPort", "tlsWebsocketPort"}
"""Members whose numbers are the node's own."""
_FIXED = {one.public_key.hex() for one in recording.PEOPLE.values()} | {
    address.client_id(addr).hex() for addr in recording.ADDRESSES.values()
}
"""What clients bring with them is no node's to vary."""


class Likeness:
    """The comparison of one case.

    Attributes:
        differences: one sentence each, `where: recorded → ours`.
    """

    def __init__(self):
        self.differences = []
        self._ours = {}
        self._theirs = {}

    def differ(self, where, recorded, ours):
        """Note a difference, once, in words that are the same in each run."""
        line = f"{where}: {shown(recorded)} → {shown(self._told(ours))}"
        if line not in self.differences:
            self.differences.append(line)

    def bind(self, recorded, ours):
        """Let a recorded value stand for ours; False if either stands for something else already."""
        if self._ours.setdefault(recorded, ours) != ours:
            return False
        return self._theirs.setdefault(ours, recorded) == recorded

    def _told(self, ours):
        """Our value, with what stands for a value of the recording in that value's words."""
        if isinstance(ours, dict):
            return {name: self._told(value) for name, value in ours.items()}
        if isinstance(ours, list):
            return [self._told(value) for value in ours]
        if not isinstance(ours, str) or isinstance(ours, Literally):
            return ours
        if ours in self._theirs:
            return self._theirs[ours]
        return next((word for shape, word in zip(SHAPES, _WORDS, strict=True) if shape.fullmatch(ours)), ours)

    def ours(self, recorded):
        """What a recorded value stands for, itself if nothing."""
        return self._ours.get(recorded, recorded)

    def same(self, recorded, ours):
        """Whether two values are the same, or one may stand for the other."""
        if type(recorded) is not type(ours):
            return False
        if not isinstance(recorded, str) or recorded in _FIXED:
            return recorded == ours
        if not any(shape.fullmatch(recorded) and shape.fullmatch(ours) for shape in SHAPES):
            return recorded == ours
        if SHAPES[3].fullmatch(recorded):
            return True
        return self.bind(recorded, ours)

    def values(self, where, recorded, ours):
        """Compare two JSON values, member by member, order included."""
        if isinstance(recorded, dict) and isinstance(ours, dict):
            self._members(where, recorded, ours)
        elif isinstance(recorded, list) and isinstance(ours, list) and len(recorded) == len(ours):
            for number, (one, other) in enumerate(zip(recorded, ours, strict=True)):
                self.values(f"{where}[{number}]", one, other)
        elif where.rpartition(".")[2] in COUNTED and type(recorded) is type(ours):
            return
        elif not self.same(recorded, ours):
            self.differ(where, recorded, ours)

    def texts(self, where, recorded, ours):
        """Compare two texts; if both are JSON, as JSON without blanks."""
        try:
            one, other = json.loads(recorded), json.loads(ours)
        except ValueError:
            if recorded != ours:
                self.differ(where or "body", recorded, ours)
            return
        before = len(self.differences)
        self.values(where, one, other)
        if before == len(self.differences) and recording.compact(other) != ours:
            self.differ(where or "body", Literally("compact JSON"), ours)

    def _members(self, where, recorded, ours):
        inside = f"{where}." if where else ""
        for name in recorded:
            if name not in ours:
                self.differ(inside + name, recorded[name], NOTHING)
        for name in ours:
            if name not in recorded:
                self.differ(inside + name, NOTHING, ours[name])
        both = [name for name in recorded if name in ours]
        if both != [name for name in ours if name in recorded]:
            self.differ(f"{inside}order", list(recorded), list(ours))
        for name in both:
            self.values(inside + name, recorded[name], ours[name])
