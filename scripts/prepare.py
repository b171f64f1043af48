"""Makes `.venv`, or installs the npm packages of the interop tests; says in a sentence what is missing.

Called by the Makefile with the system's Python, so it uses the standard library alone and an old syntax.
"""

import os
import shutil
import subprocess
import sys


def venv(path):
    """A virtual environment with pip, or exit code 1 and the command that makes it possible."""
    if sys.version_info < (3, 11):
        found = "%d.%d" % sys.version_info[:2]
        return "Python 3.11 or newer is needed, this is %s. Name another: make PYTHON=python3.12 …" % found
    if subprocess.call([sys.executable, "-m", "venv", path], stderr=subprocess.DEVNULL) != 0:
        return "python3 lacks its venv module. Debian, Ubuntu: apt-get install python3-venv"
    return None


def node(folder):
    """The npm packages of `folder`, if node is there; the tests that need them say so if it is not."""
    lock = os.path.join(folder, "package-lock.json")
    done = os.path.join(folder, "node_modules", ".package-lock.json")
    if os.path.exists(done) and os.path.getmtime(done) >= os.path.getmtime(lock):
        return None
    if shutil.which("npm") is None:
        sys.stderr.write("node and npm are missing: tests with the official SDK are skipped. ")
        sys.stderr.write("Debian, Ubuntu: apt-get install nodejs npm\n")
        return None
    sys.stderr.write("installing the official nkn-sdk as a test peer (once)\n")
    if subprocess.call(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder) != 0:
        return "npm could not install the test peer; is the network up?"
    os.utime(done)
    return None


if __name__ == "__main__":
    fault = node(sys.argv[2]) if sys.argv[1] == "--node" else venv(sys.argv[1])
    if fault:
        sys.stderr.write(fault + "\n")
        sys.exit(1)
