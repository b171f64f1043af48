"""Reads the two kinds of file that docker_ensure.sh must not guess at: apt's entries, Docker's daemon.json.

Writes nothing: the script places what this prints. Called by docker_ensure.sh with `python3 -I`, as root, so
it uses the standard library alone.

    docker_files.py entries ROOT   FILE|KEYRING of every active apt entry for NVIDIA's repository, a line each
    docker_files.py merge FILE     exit code 0 if FILE makes nvidia Docker's default runtime; 10 if not, with
                                   a line naming what it lacks and the merged text; 3 if it cannot be merged,
                                   with the reason
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = "https://nvidia.github.io/libnvidia-container/stable/deb/"
PROGRAM = "nvidia-container-runtime"
COMMENT = {".list": r"(?m)#.*$", ".sources": r"(?m)^#.*\n"}
BETWEEN = {".list": "\n", ".sources": r"\n[ \t]*\n"}
OFF = re.compile(r"(?im)^[ \t]*(deb-src\b|enabled:[ \t]*(no|false)\b)")
SIGNED_BY = re.compile(r"(?im)(?:\bsigned-by=|^signed-by:[ \t]*)([^\s\]]*)")
INDENT = re.compile(r'\n([ \t]+)"')


def entries(root: Path) -> Iterator[tuple[Path, str]]:
    """File and keyring ("" if none is named) of each entry; apt skips hidden files and other endings."""
    folder = root / "etc/apt"
    for file in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("[!.]*"))]:
        if file.suffix in BETWEEN and file.is_file():
            text = re.sub(COMMENT[file.suffix], "", file.read_text(encoding="utf-8", errors="replace"))
            for entry in re.split(BETWEEN[file.suffix], text):
                if REPOSITORY in entry and not OFF.search(entry):
                    keyring = SIGNED_BY.search(entry)
                    yield file, keyring[1] if keyring else ""


def merge(text: str) -> tuple[list[str], str]:
    """What daemon.json lacks, and its text with that; all else is kept, in its order and indentation.

    A path of one's own to NVIDIA's runtime stays, and so does an entry with `runtimeType`, which has no path.
    TypeError and ValueError say why it cannot be merged.
    """
    config = json.loads(text, object_pairs_hook=_strict, parse_constant=_no_number) if text.strip() else {}
    if not isinstance(config, dict):
        raise TypeError("the outermost value must be an object")
    lacks = []
    default = config.get("default-runtime")
    if default != "nvidia":
        config["default-runtime"] = "nvidia"
        lacks.append("default-runtime nvidia" + (f" (now {default})" if default else ""))
    nvidia = _part(_part(config, "runtimes"), "nvidia")
    named = os.path.basename(str(nvidia.get("path", ""))).startswith(PROGRAM)
    if not named and "runtimeType" not in nvidia:
        nvidia["path"] = PROGRAM
        nvidia.setdefault("runtimeArgs", [])
        lacks.append("runtimes.nvidia")
    indent = INDENT.search(text)
    return lacks, json.dumps(config, ensure_ascii=False, indent=indent[1] if indent else 4)


def _strict(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Which of two is meant cannot be known; a merge would drop one in silence.
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_number(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _part(whole: dict[str, object], key: str) -> dict[str, object]:
    if whole.get(key) is None:
        whole[key] = {}
    found = whole[key]
    if not isinstance(found, dict):
        raise TypeError(f"{key!r} must hold an object")
    return found


def main(verb: str, path: Path) -> int:
    """Print the answer; the exit codes are told above."""
    try:
        if verb == "entries":
            answer, code = "".join(f"{file}|{keyring}\n" for file, keyring in entries(path)), 0
        else:
            # Docker, too, takes a byte order mark, and an empty file for an empty object.
            lacks, text = merge(path.read_bytes().decode("utf-8-sig") if os.path.exists(path) else "")
            answer, code = (f"{', '.join(lacks)}\n{text}\n", 10) if lacks else ("", 0)
        sys.stdout.buffer.write(answer.encode())
    except (OSError, TypeError, ValueError, RecursionError) as error:
        print(error)
        return 3
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
