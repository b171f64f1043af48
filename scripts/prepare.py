"""Makes `.venv`, fills it, installs npm packages of the tests; says in a sentence what is missing.

Called by the Makefile with the system's Python, so it uses the standard library alone and an old syntax.

    prepare.py venv FOLDER · prepare.py pip FOLDER REQUIREMENTS · prepare.py node FOLDER [WHAT WITHOUT]
"""

import os
import shutil
import subprocess
import sys


def venv(folder):
    """A virtual environment with pip."""
    if sys.version_info < (3, 11):
        found = "%d.%d" % sys.version_info[:2]
        return "Python 3.11 or newer is needed, this is %s. Name another: make PYTHON=python3.12 ..." % found
    if subprocess.call([sys.executable, "-m", "venv", folder], stderr=subprocess.DEVNULL) != 0:
        return "python3 lacks its venv module. Debian, Ubuntu: apt-get install python3-venv"
    return None


def pip(folder, requirements):
    """Install pinned requirements with a line of progress; what pip complains of is passed on."""
    with open(requirements) as lines:
        total = sum(1 for line in lines if "==" in line and not line.startswith((" ", "#")))
    words = ["--require-hashes", "--no-deps", "--progress-bar", "off", "--retries", "2"]
    child = subprocess.Popen(
        [os.path.join(folder, "bin", "python"), "-m", "pip", "install", *words, "-r", requirements],
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    done = 0
    for line in child.stdout:
        if line.startswith(("Collecting ", "Requirement already satisfied: ")):
            done += 1
            progress("package", done, total, line.split(": ")[-1].split("==")[0].split(" ")[-1].strip())
        elif line.startswith("Installing collected"):
            progress("unpacking", total, total, "")
    if child.wait() != 0:
        return (
            "the packages of %s could not be installed; pip says why above. Is the network up?" % requirements
        )
    progress("installed", total, total, "")
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    return None


def progress(what, done, total, name):
    """A bar on a terminal, some lines elsewhere."""
    if sys.stderr.isatty():
        bar = "#" * (20 * done // total)
        sys.stderr.write("\r%-10s [%-20s] %d/%d %-40.40s" % (what, bar, done, total, name))
    elif what != "package" or done % 10 == 1:
        sys.stderr.write("%s %d/%d %s\n" % (what, done, total, name.strip()))
    sys.stderr.flush()


def node(folder, what="the official nkn-sdk as a test peer", without="tests with it will be skipped"):
    """The npm packages of `folder`, if node is there; whoever needs them says so if it is not."""
    lock = os.path.join(folder, "package-lock.json")
    done = os.path.join(folder, "node_modules", ".package-lock.json")
    if os.path.exists(done) and os.path.getmtime(done) >= os.path.getmtime(lock):
        return None
    if shutil.which("npm") is None:
        sys.stderr.write("npm is missing: %s. Debian, Ubuntu: apt-get install nodejs npm\n" % without)
        return None
    sys.stderr.write("installing %s (once)\n" % what)
    words = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    if subprocess.call(words, cwd=folder) != 0:
        return "npm could not install %s; is the network up?" % what
    os.utime(done)
    return None


if __name__ == "__main__":
    fault = {"venv": venv, "pip": pip, "node": node}[sys.argv[1]](*sys.argv[2:])
    if fault:
        sys.stderr.write("\n%s\n" % fault)
        sys.exit(1)
