"""The script path of the first release: `python3 relay/ollama_relay.py --help`."""

import runpy
import sys
from pathlib import Path

# Run as a script, Python puts this folder first; the packages lie one above.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

if __name__ == "__main__":
    runpy.run_module("relay", run_name="__main__", alter_sys=True)
