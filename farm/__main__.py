"""`python -m farm`."""

import sys

from wire.entry import missing

try:
    from farm.cli import main

    sys.exit(main())
except ModuleNotFoundError as error:
    sys.exit(missing(error, "farm"))
