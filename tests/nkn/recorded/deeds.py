"""What our client did in a role: in words, and held against what the recorded client did.

Used by the tests of the client; reads a `role.Role` that was played.
"""

import json
import re
from collections import Counter

from nkn.recorded import labels, sent
from nkn.recorded.likeness import NOTHING, Likeness, Literally

from relay.nkn import envelope


def deeds(role):
    """What our client did, counted, in a fixed order of words."""
    kinds = Counter(_kind(one.said.contents[0]) for one in sent.messages(role))
    come, parts = len(role.connections), max(1, role.part.parts + role.part.original)
    follows = max(0, come - len(role.seed.questions))
    counts = role.client.statistics()
    told = {
        "registers": len(role.connects),
        "follows": follows,
        "comes back": come - parts - follows,
        "is refused": sum("refused us" in why for why in role.failures),
        "sends": kinds["sends"],
        "is answered": len(role.acknowledged),
        "delivers": len(role.messages),
        "gives receipts": sent.receipts(role),
        "acknowledges": kinds["acknowledges"],
        "replies": kinds["replies"],
        "drops unsealed": counts.get("unsealed_dropped", 0),
        "drops sealed for another": counts.get("undecipherable_dropped", 0),
        "drops copies": counts.get("duplicates", 0),
        "answers pings": sum(len(one.answered) for one in role.connections),
        "pongs unasked": sum(len(one.pongs) for one in role.connections),
    }
    assert all(one.good for one in sent.messages(role))
    return ", ".join(f"{verb} {count}" for verb, count in told.items() if count)


def _kind(content):
    if content.kind == "ACK":
        return "acknowledges"
    return "replies" if content.reply_to else "sends"


def differences(role):
    """How our client's frames differ from those of the recorded one in the same role."""
    like = Likeness()
    for conn in role.part.conns:
        recorded, ours = recorded_frames(role, conn), our_frames(role, conn)
        if "close" not in {word.partition(" ")[0] for word in recorded}:
            ours = [word for word in ours if not word.startswith("close")]
        missing, added = Counter(recorded) - Counter(ours), Counter(ours) - Counter(recorded)
        for one in missing:
            like.differ(conn, Literally(plain(one)), NOTHING)
        for one in added:
            like.differ(conn, NOTHING, Literally(plain(one)))
        one, other = _common(recorded, ours), _common(ours, recorded)
        if one != other:
            like.differ(
                f"{conn} order",
                Literally(", ".join(map(plain, one))),
                Literally(", ".join(map(plain, other))),
            )
    _questions(role, like)
    return like.differences


def _common(words, others):
    """The words that the others have as well, each as often as they have it."""
    left = Counter(others)
    kept = []
    for one in words:
        if left[one]:
            left[one] -= 1
            kept.append(one)
    return kept


def plain(text):
    """A frame's words without the ids by which it was compared."""
    return re.sub(r" [0-9a-f]{16}\b", "", text)


def recorded_frames(role, conn):
    """What the recorded client sent on a connection, a word for each frame."""
    told = []
    for event in role.case.of(conn):
        if event.op == "registered" or (event.way == "c>n" and event.op == "text"):
            told.append("setClient signed")
        elif event.way == "c>n" and event.op == "binary" and not role.part.leaves_out(event):
            told.append(word(event.said))
        elif event.way == "c>n" and event.op == "close":
            told.append(f"close {labels.closing(event.rest)}")
    return told


def our_frames(role, conn):
    """The same of ours."""
    texts = (word(one.said, no_reply=one.no_reply) for one in sent.messages(role) if one.conn == conn)
    told = []
    for got in role.clients[conn].frames if conn in role.clients else ():
        if got.op == "text":
            proven = role.proven(conn, json.loads(got.data))
            told.append("setClient signed" if proven else "setClient unsigned")
        elif got.op == "binary":
            receipt = isinstance(envelope.read(got.data), envelope.Receipt)
            told.append("receipt" if receipt else next(texts))
        elif got.op == "close":
            told.append(f"close {labels.closing_of(got.data)}")
    return told


def word(said, *, no_reply=False):
    """One message of a client in few words; the same words are the same message."""
    if said.kind == "RECEIPT":
        return "receipt"
    one = said.contents[0]
    kind = ("reply " if _kind(one) == "replies" else "") + labels.content(one)
    dests = ", ".join(dest.rpartition(".")[0] or dest[:8] for dest in said.who)
    more = [f"holding {said.hold}"] if said.hold else []
    more += ["unsealed"] if not one.sealed else []
    more += ["compressed"] if said.zlib else []
    more += ["no_reply"] if no_reply else []
    return " ".join([f"{kind} {one.id or one.reply_to} to {dests}", *more])


def _questions(role, like):
    """What JSON-RPC is asked: the recorded questions belong to all clients of the case together."""
    asked = {event.rest.get("method") for event in role.case.events if event.op == "http_request"} - {None}
    ours = {question["method"] for question in role.seed.questions}
    if asked:
        like.values("asks", sorted(asked), sorted(ours))
