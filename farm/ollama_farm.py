"""The published script path: `python farm/ollama_farm.py --mode embedded` does what `python -m farm` does."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Started as a script, Python puts farm/ itself first; the packages lie one folder above.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from farm.cli import main

    sys.exit(main())
