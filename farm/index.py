"""The user's package index, asked through the user's own pip.

Mirrors, proxies and certificates are whatever pip is configured with.
Called by `farm.fetch`; knows nothing of models.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from farm import limits

_WHEELS = "--only-binary=:all:"
_REPORT = ("--report", "-")


class IndexFault(Exception):
    """The index did not give what was asked for; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where one wheel lies.

    Attributes:
        url: its address; https, or what the user's index has.
        sha256: hex digest the index names for it, or "" when it names none.
        certificates: path of the certificate bundle pip is told to use, or None for the default.
        proxy: the proxy pip is told to use, or None for the environment's.
    """

    url: str
    sha256: str = ""
    certificates: str | None = None
    proxy: str | None = None


class PipIndex:
    """`python -m pip`, as a child process."""

    def locate(self, requirement: str) -> Location:
        """Address and digest of the wheel for `requirement` ("name==version"), not downloaded.

        Raises:
            IndexFault: pip is missing, there is no network, or the index does not have it.
        """
        query = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", _WHEELS, *_REPORT]
        report = _pip([*query, requirement], limits.INDEX_QUERY_S)
        try:
            found = json.loads(report)["install"][0]["download_info"]
            digest = found.get("archive_info", {}).get("hashes", {}).get("sha256", "")
            url = str(found["url"])
        except (ValueError, LookupError) as error:
            raise IndexFault("pip's report cannot be read; is it older than 22.2?") from error
        settings = _pip(["config", "list"], limits.INDEX_QUERY_S)
        return Location(url, str(digest), _setting(settings, "cert"), _setting(settings, "proxy"))

    def download(self, requirement: str, folder: Path) -> Path:
        """Let pip itself bring the wheel into `folder`; returns its path.

        Raises:
            IndexFault: as `locate`.
        """
        _pip(
            ["download", "--no-deps", "--quiet", _WHEELS, "--dest", str(folder), requirement],
            limits.INDEX_DOWNLOAD_S,
        )
        wheels = sorted(folder.glob("*.whl"))
        if not wheels:
            raise IndexFault("pip brought no wheel")
        return wheels[-1]


def _pip(arguments: Sequence[str], timeout_s: float) -> str:
    argv = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    environment = {**os.environ, "PIP_NO_INPUT": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, arguments from this file
            argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IndexFault(f"pip did not answer: {type(error).__name__}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reasons = [line for line in lines if line.startswith("ERROR:")] or lines or ["pip failed"]
        raise IndexFault(reasons[0].removeprefix("ERROR:").strip()[:300])
    return done.stdout


def _setting(listing: str, name: str) -> str | None:
    """The value of one pip option in `pip config list`; the last one wins, as in pip."""
    found: list[str] = re.findall(rf"^[\w:-]+\.{name}='(.*)'$", listing, re.MULTILINE)
    return found[-1] if found else None
