"""All tests, in two halves side by side: most of them wait for something most of the time.

    python scripts/tests.py [words for pytest]      with words: one pytest with these

The output of the half that is shown second is kept until the first one has ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest", "-q")
APART = ("tests/farm", "tests/scripts")
FIRST = ("tests", *(f"--ignore={folder}" for folder in APART))


def main(words: list[str]) -> int:
    """Run them; pytest's exit status, that of a failing half before that of the other."""
    if words:
        return subprocess.run((*PYTEST, *words), check=False).returncode
    with tempfile.TemporaryFile() as kept:
        second = subprocess.Popen((*PYTEST, *APART), stdout=kept, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run((*PYTEST, *FIRST), check=False).returncode
            print(f"\n{' and '.join(APART)}, which ran beside these:", flush=True)
            second.wait()
        finally:
            if second.poll() is None:
                second.send_signal(signal.SIGINT)  # pytest cleans up
                second.wait()
        kept.seek(0)
        sys.stdout.buffer.write(kept.read())
    return first or second.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
