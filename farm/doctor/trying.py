"""`--try MODEL`: loads a model and asks it several times at once, to see whether answers run side by side.

The only thing the doctor does that costs anything. Called by `cli`.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.parse
from functools import partial

from farm.doctor import limits
from farm.doctor.asking import WRONG, connection, words
from farm.doctor.probing import gather
from farm.doctor.trial import Trial

PROMPT = "Count in words, one word a line: {}, {},"
"""Each asks something else, so that none is answered out of another's memory, and the answer is long."""


class FailedError(Exception):
    """An answer that was an error; its words."""


def run(url: str, model: str, at_once: int) -> Trial:
    """Load a model, then ask it so many times at once.

    Args:
        url: of a farm or an Ollama.
        model: as the owner writes it.
        at_once: requests.
    """
    begun = time.monotonic()
    try:
        _ask(url, {"model": model, "stream": True}, limits.TRY_LOAD_S)
    except (*WRONG, FailedError) as error:
        return Trial(url, model, at_once, errors=(_why(error),))
    load_s = time.monotonic() - begun
    start = threading.Barrier(at_once)
    told, silent = gather(
        {str(number): partial(_one, url, model, number, start) for number in range(at_once)},
        limits.TRY_LOAD_S,
    )
    spans = tuple(span for span, _ in told.values() if span is not None)
    errors = (*(why for _, why in told.values() if why), *silent.values())
    return Trial(url, model, at_once, spans, errors, load_s)


def _one(
    url: str, model: str, number: int, start: threading.Barrier
) -> tuple[tuple[float, float] | None, str]:
    body = {
        "model": model,
        "prompt": PROMPT.format(number + 1, number + 2),
        "stream": True,
        "options": {"num_predict": limits.TRY_TOKENS, "temperature": 0, "seed": number + 1},
    }
    start.wait(limits.TRY_SILENT_S)
    try:
        return _ask(url, body, limits.TRY_SILENT_S), ""
    except (*WRONG, FailedError) as error:
        return None, _why(error)


def _ask(url: str, body: dict[str, object], silent_s: float) -> tuple[float, float] | None:
    """When its first and its last token came; None when it had none.

    Raises:
        FailedError: the answer is an error, or breaks off.
    """
    way = connection(url, silent_s)
    try:
        path = urllib.parse.urlsplit(url).path.rstrip("/") + "/api/generate"
        way.request(
            "POST", path, json.dumps(body), {"Content-Type": "application/json", "Connection": "close"}
        )
        return _follow(way.getresponse())
    finally:
        way.close()


def _follow(answer: http.client.HTTPResponse) -> tuple[float, float] | None:
    first = last = 0.0
    while line := answer.readline(limits.TRY_LINE_B):
        told = json.loads(line)
        if not isinstance(told, dict) or "error" in told or answer.status != 200:
            why = told.get("error") if isinstance(told, dict) else None
            raise FailedError(str(why or f"status {answer.status}"))
        if told.get("response") or told.get("thinking"):
            last = time.monotonic()
            first = first or last
        if told.get("done") is True:
            return (first, last) if first else None
    raise FailedError(f"the answer (status {answer.status}) broke off")


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, FailedError) else words(error)
