"""`python -m relay`."""

import sys

from wire.entry import missing

try:
    from relay.cli import main

    sys.exit(main())
except ModuleNotFoundError as error:
    sys.exit(missing(error, "relay"))
