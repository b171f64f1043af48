"""The script path of the first release: `python3 relay/ollama_relay.py --debug`."""

import sys
from pathlib import Path

root = str(Path(__file__).resolve().parent.parent)
# Run as a script, Python puts this folder first; the packages lie one above.
sys.path[0] = root

from relay.cli import main  # noqa: E402 - the path must be right first

if __name__ == "__main__":
    sys.exit(main())
