"""What the doctor sees: the file, the settings, and everybody they name, asked side by side.

Nobody else is asked. Only questions that change nothing; each has ANSWER_S, all together ALL_S. Whoever is
silent is left behind on a thread that does not hold the program. Called by `cli`.
"""

from __future__ import annotations

import errno
import json
import os
import queue
import re
import socket
import stat
import threading
import time
import urllib.parse
from collections.abc import Callable, Hashable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from relay import owned, settings
from relay.doctor import limits
from relay.doctor.examination import Door, Facts, Port
from relay.doctor.network import Way
from relay.doctor.secretfile import SecretFile
from relay.doctor.upstreams import PATHS, Said, Target
from relay.nkn import Identity
from relay.nkn.address import join
from relay.nkn.session import NodeInfo
from relay.settings import Settings
from wire.errors import SettingsFault

_HERE = {"127.0.0.1", "::1", "localhost"}


def look(env_file: Path, environ: Mapping[str, str]) -> Facts:
    """Look at everything; takes as long as the slowest answer."""
    file = secret_file(env_file)
    chosen, faults = _settings(env_file, environ, there=file.there)
    outside = {key for key in settings.KEYS if key in environ}
    if chosen is None:
        return Facts(file, faults, outside)
    seed = chosen.nkn_seed_hex or os.urandom(32)
    address = join(chosen.nkn_identifier, Identity(seed).public_key.hex())
    found = gather(_questions(chosen, address), limits.ALL_S)
    silent = Way("", trouble=f"no answer within {limits.ANSWER_S:g} s")
    return Facts(
        file,
        faults,
        outside,
        Door(
            address if chosen.nkn_seed_hex else "",
            everybody=not chosen.relay_allow_peers and not chosen.relay_policy,
            admin=tuple(sorted(chosen.relay_allow_admin)),
        ),
        seeds=[found.get(("seed", url), _named(silent, url)) for url in chosen.nkn_rpc_addr],
        bridges=[found.get(("bridge", url), _named(silent, url)) for url in chosen.nkn_bridge_seed_ws],
        targets=[
            Target(
                name,
                origin,
                {path: found[name, path] for path in PATHS if (name, path) in found},
                admin=name in chosen.relay_allow_admin,
            )
            for name, origin in sorted(chosen.relay_targets.items())
        ],
        port=_port(chosen.relay_metrics_port),
    )


def _named(way: Way, url: str) -> Way:
    return Way(url, trouble=way.trouble)


def _settings(
    env_file: Path, environ: Mapping[str, str], *, there: bool
) -> tuple[Settings | None, list[SettingsFault]]:
    """The settings as far as they can be read, and every mistake in them."""
    try:
        chosen, faults = settings.examine(env_file, environ, there=there)
    except ExceptionGroup as group:
        return None, [fault for fault in group.exceptions if isinstance(fault, SettingsFault)]
    if not there:  # the first start makes it, with a seed
        faults = [fault for fault in faults if fault.key != "NKN_SEED_HEX" or fault.key in environ]
    try:
        owned.register(chosen)
    except ExceptionGroup as group:
        faults += [fault for fault in group.exceptions if isinstance(fault, SettingsFault)]
    return chosen, faults


def secret_file(path: Path) -> SecretFile:
    """What the file system says of the file with the seed; its content is not looked at."""
    shown = str(path)
    try:
        link = str(path.readlink()) if path.is_symlink() else ""
        found = path.stat()
    except FileNotFoundError:
        can = path.parent.is_dir() and os.access(path.parent, os.W_OK | os.X_OK)
        return SecretFile(shown, there=False, leads_to=link, can_be_made=can)
    except (OSError, ValueError) as error:
        return SecretFile(shown, trouble=getattr(error, "strerror", None) or str(error))
    mine = found.st_uid == os.getuid() if hasattr(os, "getuid") else True
    return SecretFile(
        shown, leads_to=link, plain=stat.S_ISREG(found.st_mode), mode=stat.S_IMODE(found.st_mode), mine=mine
    )


# -- asking ---------------------------------------------------------------------------------------


def _questions(chosen: Settings, address: str) -> dict[Hashable, Callable[[], Any]]:
    asked: dict[Hashable, Callable[[], Any]] = {}
    for url in chosen.nkn_rpc_addr:
        asked["seed", url] = partial(seed, url, address)
    for url in chosen.nkn_bridge_seed_ws:
        asked["bridge", url] = partial(bridge, url)
    for name, origin in chosen.relay_targets.items():
        for path in PATHS:
            asked[name, path] = partial(said, f"{origin}{path}", verify=chosen.relay_verify_default)
    return asked


def gather(questions: Mapping[Hashable, Callable[[], Any]], within_s: float) -> dict[Hashable, Any]:
    """Answers that came in time; a question never raises."""
    came: queue.SimpleQueue[tuple[Hashable, Any]] = queue.SimpleQueue()
    for name, ask in questions.items():
        # A daemon: a name that does not resolve must not keep the doctor from leaving.
        threading.Thread(target=lambda n=name, a=ask: came.put((n, a())), daemon=True).start()
    found: dict[Hashable, Any] = {}
    until = time.monotonic() + within_s
    while len(found) < len(questions):
        try:
            name, answer = came.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[name] = answer
    return found


def seed(url: str, address: str) -> Way:
    """Ask a seed server for the node of an address, as the relay does when it starts."""
    question = {"id": "relay", "jsonrpc": "2.0", "method": "getwsaddr", "params": {"address": address}}
    outside = urllib.parse.urlsplit(url).hostname not in _HERE
    began, began_at = time.monotonic(), time.time()
    try:
        with httpx.Client(timeout=limits.ANSWER_S, trust_env=outside) as client:
            status, date, told = _read(client, "POST", url, json=question)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are told of
        return Way(url, trouble=words(error))
    took = time.monotonic() - began
    ahead = _ahead(date, began_at + took / 2)
    if status != 200:
        return Way(url, trouble=f"HTTP {status}", ahead_s=ahead)
    node = NodeInfo.parse(told.get("result")) if isinstance(told, dict) else None
    if node is None:
        return Way(url, trouble="it answers, but names no node", ahead_s=ahead)
    return Way(url, took * 1000, node.addr, ahead_s=ahead)


def bridge(url: str) -> Way:
    """Whether a node takes connections."""
    parts = urllib.parse.urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    began = time.monotonic()
    try:
        socket.create_connection((parts.hostname or "", port), timeout=limits.ANSWER_S).close()
    except (OSError, ValueError) as error:
        return Way(url, trouble=words(error))
    return Way(url, (time.monotonic() - began) * 1000)


def said(url: str, *, verify: bool) -> Said:
    """One GET, past all proxies and without redirects, as the relay asks."""
    began = time.monotonic()
    try:
        with httpx.Client(timeout=limits.ANSWER_S, trust_env=False, verify=verify) as client:
            status, _, told = _read(client, "GET", url)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one, the others are told of
        return Said(trouble=words(error))
    return Said(status, told, (time.monotonic() - began) * 1000)


def _read(client: httpx.Client, method: str, url: str, **more: Any) -> tuple[int, str, Any]:
    """Status, Date and the JSON of an answer, or None."""
    with client.stream(method, url, headers={"Accept-Encoding": "identity"}, **more) as answer:
        body = bytearray()
        for piece in answer.iter_raw():
            body += piece
            if len(body) > limits.ANSWER_MAX_B:
                break
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    return answer.status_code, answer.headers.get("date", ""), told


def _ahead(date: str, now: float) -> float | None:
    """How far a clock is ahead of a Date, which has whole seconds."""
    try:
        return now - parsedate_to_datetime(date).timestamp() - 0.5
    except (ValueError, TypeError, OverflowError):
        return None


def words(error: Exception) -> str:
    """Why there is no answer, without anything that a variable of the environment may hold."""
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return f"no answer within {limits.ANSWER_S:g} s"
    if isinstance(error, httpx.ProxyError):
        return "the proxy of the environment does not let it through"
    if isinstance(error, httpx.TransportError):
        return re.sub(r"^\[[^]]*\] ", "", str(error)) or type(error).__name__
    return getattr(error, "strerror", None) or type(error).__name__


def _port(number: int) -> Port:
    """Whether the port of the figures can be had, or a relay has it already."""
    if not number:
        return Port()
    trouble = _taken(number)
    answer = said(f"http://127.0.0.1:{number}/health", verify=True).told if trouble else None
    ours = isinstance(answer, dict) and {"nkn", "running", "waiting"} <= answer.keys()
    return Port(number, trouble, relay=ours)


def _taken(number: int) -> str:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", number))
            one.listen(1)
        except OSError as error:
            return os.strerror(error.errno or errno.EADDRINUSE)
    return ""
