"""What the stand-in docker prints: words to either side, and the templates of `--format`."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from standin.containers import DaemonError


def say(words: str) -> None:
    sys.stdout.write(words + "\n")


def complain(words: str) -> None:
    sys.stderr.write(words + "\n")


def formatted(template: str, value: Any) -> str:
    """A Go template of plain fields, `json` and `index`; of others it says so."""
    text = template.replace("\\t", "\t").replace("\\n", "\n")
    return re.sub(r"\{\{ *(.+?) *\}\}", lambda found: _filled(found[1].split(), value), text)


def _filled(words: list[str], value: Any) -> str:
    if words[0] == "json":
        return json.dumps(_field(words[1], value), separators=(",", ":"))
    if words[0] == "index":
        return _plain(_field(words[1], value).get(words[2].strip('"'), ""))
    if len(words) > 1:
        raise DaemonError(f"the stand-in does not know the template {words}")
    return _plain(_field(words[0], value))


def _field(path: str, value: Any) -> Any:
    for name in filter(None, path.split(".")):
        value = value.get(name, "<no value>") if isinstance(value, dict) else "<no value>"
    return value


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_plain(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_plain, value)) + "]"
    return str(value)
