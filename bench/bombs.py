"""How long the relay looks at texts that are made to cost much: each as large as a message may be.

    python -m bench.bombs

CPU time of this process; the texts are read as a peer's message is, the frame as a node's is.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable
from functools import partial

from bench.tables import table
from relay import events
from relay.nkn import envelope
from relay.nkn import messages_pb2 as pb
from wire import limits

_SIZE = limits.DM_MAX_B


def texts() -> dict[str, str]:
    """What is in it → the text."""
    return {
        "lists in lists": "[" * _SIZE,
        "objects in objects": '{"a":' * (_SIZE // 5),
        "lists": _many("[]"),
        "objects": _many("{}"),
        "numbers": _many("1"),
        "numbers with exponents": _many("1e1"),
        "empty strings": _many('""'),
        "members": "{" + ",".join(f'"{number}":0' for number in range(_SIZE // 12)) + "}",
        "one integer": '{"a":' + "9" * (_SIZE - 6) + "}",
        "one exponent": '{"a":1e' + "9" * (_SIZE - 8) + "}",
        "lone surrogates": '{"a":"' + "\\ud800" * (_SIZE // 6 - 2) + '"}',
        "a string without an end": ":" * 60_000 + '"' + '\\"' * (_SIZE // 2 - 60_000),
        "numbers that are missing": f'{{"event":"relay.response.missing","id":1,"missing":{_many("1", 60)}}}',
    }


def frame() -> bytes:
    """A node's message that inflates to 500 times what it may."""
    bomb = zlib.compress(bytes(limits.NODE_FRAME_MAX_B * 20), 9)
    kind, coding = pb.INBOUND_MESSAGE, pb.COMPRESSION_ZLIB
    return pb.ClientMessage(message_type=kind, message=bomb, compression_type=coding).SerializeToString()


def _many(value: str, less: int = 2) -> str:
    return "[" + ",".join([value] * ((_SIZE - less) // (len(value) + 1))) + "]"


def _cost_ms(read: Callable[[], object]) -> tuple[float, str]:
    began = time.process_time()
    try:
        read()
    except (events.NotAnEvent, envelope.EnvelopeError) as refused:
        said = str(refused)
    else:
        said = "read"
    return (time.process_time() - began) * 1000, said


def main() -> int:
    """Print the table."""
    rows = []
    for name, text in texts().items():
        took, said = min(_cost_ms(partial(events.read, text)) for _ in range(3))
        rows.append((name, f"{len(text):,}", f"{took:.0f}", said))
    bomb = frame()
    took, said = min(_cost_ms(lambda: envelope.read(bomb)) for _ in range(3))
    rows.append(("a zlib bomb", f"{len(bomb):,}", f"{took:.0f}", said))
    sys.stdout.write(table(("text of", "bytes", "ms", "what became of it"), rows) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
