"""One file over HTTP, going on where an earlier attempt stopped.

Called by `farm.fetch`; imported only when something is to be fetched.
"""

from __future__ import annotations

import time
from pathlib import Path

import requests

from farm import limits
from farm.digest import sha256_of
from farm.index import IndexFault, Location
from farm.progress import Progress


def bring(where: Location, part: Path, progress: Progress) -> None:
    """Bring the file at `where` into `part`, going on behind the bytes that are there already.

    Raises:
        IndexFault: it does not come that way. What came stays in `part`, unless it is the wrong file.
    """
    if not where.url.startswith(("http://", "https://")):
        raise IndexFault("the index is a folder")
    held = _size(part)
    fruitless = 0
    while not _pulled(where, part, progress):
        fruitless = 0 if _size(part) > held else fruitless + 1
        held = _size(part)
        if fruitless == limits.FETCH_ATTEMPTS:
            raise IndexFault("the connection to the index fails again and again")
    if where.sha256 and sha256_of(part) != where.sha256:
        part.unlink()
        raise IndexFault("what came is not the file that the index names")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _pulled(where: Location, part: Path, progress: Progress) -> bool:
    """Whether one attempt brought all that was missing."""
    try:
        _pull(where, part, progress)
    except requests.HTTPError as error:
        raise IndexFault(f"the index answers {error.response.status_code}") from error
    except requests.RequestException:
        return False
    return True


def _pull(where: Location, part: Path, progress: Progress) -> None:
    held = _size(part)
    ask = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
    proxies = {"http": where.proxy, "https": where.proxy} if where.proxy else None
    answer = requests.get(
        where.url,
        headers=ask,
        stream=True,
        verify=where.certificates or True,
        proxies=proxies,
        timeout=(limits.FETCH_CONNECT_S, limits.FETCH_READ_S),
    )
    with answer:
        if answer.status_code == 416:  # nothing behind what is held: it is complete, the digest will tell
            return
        answer.raise_for_status()
        if answer.status_code != 206:
            held = 0
        total = held + int(answer.headers.get("Content-Length", 0))
        with part.open("r+b" if held else "wb") as file:
            file.seek(held)
            for block in answer.iter_content(limits.FETCH_BLOCK_B):
                file.write(block)
                held += len(block)
                progress.show(held, total, time.monotonic())
