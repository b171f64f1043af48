"""The table of files the site serves: made once at the start, held in memory, nothing else is ever opened.

Knows the folder, no socket and no request. Called by `server`; `answers` reads the table. A file outside the
folder, also behind a link, or a vendored one with other bytes than expected, ends the start.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bounds
from faults import SiteFault, reason
from vendored import Vendored

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types; a file of another kind is not served."""
_OWN = re.compile(r"[a-z0-9][a-z0-9-]*\.(?:js|css|svg)")
"""What of the folder itself is served beside index.html; neither hidden files, nor Python, nor JSON."""
_REVALIDATED = "no-cache"
_IMMUTABLE = f"public, max-age={bounds.IMMUTABLE_S}, immutable"
_INSTALL = "run `npm ci` in {folder}"


@dataclass(frozen=True, slots=True)
class Item:
    """A file, ready to be sent.

    Attributes:
        kind: its Content-Type.
        caching: its Cache-Control.
        tag: entity tag without quotes, of its bytes.
        packed: the same by gzip, or None where that is no gain.
    """

    kind: str
    caching: str
    body: bytes
    tag: str
    packed: bytes | None


def gather(folder: Path, vendored: Sequence[Vendored]) -> dict[str, Item]:
    """URL path → file, for a site that lies in a folder.

    Raises:
        SiteFault: names the file and what to do.
    """
    folder = Path(os.path.realpath(folder))
    items = {"/": _item(_read(folder, "index.html"), ".html", _REVALIDATED)}
    for name in _own(folder):
        items[f"/{name}"] = _item(_read(folder, name), Path(name).suffix, _REVALIDATED)
    if vendored and not (folder / "node_modules").is_dir():
        raise SiteFault(f"the libraries of the page are not installed: {_INSTALL.format(folder=folder)}")
    for one in vendored:
        items[one.url] = _item(_verified(folder, one), Path(one.file).suffix, _IMMUTABLE)
    return items


def _own(folder: Path) -> Iterator[str]:
    try:
        yield from sorted(path.name for path in folder.iterdir() if _OWN.fullmatch(path.name))
    except OSError as error:
        raise SiteFault(f"{folder} cannot be read: {reason(error)}") from error


def _read(folder: Path, name: str) -> bytes:
    """The bytes of a file, if it lies in the folder."""
    try:
        path = Path(os.path.realpath(folder / name, strict=True))
        if not path.is_relative_to(folder):
            raise SiteFault(f"{folder / name} leads out of the site's folder; only files in it are served")
        if not path.is_file():
            raise SiteFault(f"{path} is no file")
        if path.stat().st_size > bounds.FILE_MAX_B:
            raise SiteFault(f"{path} is larger than {bounds.FILE_MAX_B} bytes; the site is held in memory")
        return path.read_bytes()
    except OSError as error:
        raise SiteFault(f"{folder / name} cannot be read: {reason(error)}") from error


def _verified(folder: Path, one: Vendored) -> bytes:
    name = f"node_modules/{one.package}/{one.file}"
    try:
        data = _read(folder, name)
    except SiteFault as fault:
        raise SiteFault(f"{fault.detail}; {_INSTALL.format(folder=folder)}") from fault
    found = "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()
    if found != one.integrity:
        raise SiteFault(
            f"{folder / name} is not that of {one.package} {one.version} (it has {found}, expected is "
            f"{one.integrity}); {_INSTALL.format(folder=folder)}"
        )
    return data


def _item(body: bytes, suffix: str, caching: str) -> Item:
    packed = gzip.compress(body, mtime=0)
    tag = hashlib.sha256(body).hexdigest()[:32]
    return Item(KINDS[suffix], caching, body, tag, packed if len(packed) < len(body) else None)
