"""Our relay, but each line on all paths at once: what the one that sends it on the best path is held against.

python -m bench.many_copies --env-file F
"""

from __future__ import annotations

import sys

from relay import cli, exchange
from relay.commands import Effort


def main() -> int:
    """Run it."""
    once = exchange.Exchange._out  # noqa: SLF001 - the one place where an effort is chosen

    def out(
        self: exchange.Exchange,
        frame: exchange.Frame,
        now: float,
        _effort: Effort = Effort.SURE,
        *,
        kept: bool = True,
    ) -> exchange.Out:
        return once(self, frame, now, Effort.SURE, kept=kept)

    exchange.Exchange._out = out  # type: ignore[method-assign]  # noqa: SLF001
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
