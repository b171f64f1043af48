"""One question to a server over HTTP: past all proxies, without redirects, within its time.

Called by `answers`, `trying` and `cli`; needs nothing but the standard library.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

from farm.doctor import limits
from farm.doctor.front import Front, is_health

WRONG = (OSError, http.client.HTTPException, ValueError)
"""What a server that cannot be understood raises."""


def connection(url: str, within_s: float) -> http.client.HTTPConnection:
    """The way to a server; nothing is sent yet."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=within_s)


def ask(url: str, path: str, within_s: float) -> tuple[int, Any]:
    """Status, and the JSON in the answer or None.

    Raises:
        OSError: no connection, or silence.
        http.client.HTTPException: no HTTP.
    """
    prefix = urllib.parse.urlsplit(url).path.rstrip("/")
    way = connection(url, within_s)
    try:
        way.request("GET", prefix + path, headers={"Connection": "close"})
        answer = way.getresponse()
        text = answer.read(limits.ANSWER_MAX_B)
    finally:
        way.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, None


def front(url: str) -> Front:
    """The farm at `--front`."""
    try:
        status, told = ask(url, "/_health", limits.FAR_HTTP_S)
    except WRONG as error:
        return Front(url, trouble=words(error))
    if not is_health(told):
        return Front(url, trouble=f"GET /_health answers {status}, which is not a farm's")
    return Front(url, told)


def words(error: Exception) -> str:
    """Why it could not be asked."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (
        "it does not answer in time"
        if isinstance(error, TimeoutError)
        else f"no HTTP ({type(error).__name__})"
    )
