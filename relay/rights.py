"""What each key may do: the owner's table of peers as values.

    [default]                    everybody who is answered and not named below
    models = ["gemma3:*"]
    requests = "100/hour"

    [peers.anna]
    key = "<public key or address>"
    admin = true

Pure: text in, `Register` or the mistakes out. Read by `cli`, asked by `policy`, `admission` and `quotas`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from relay.nkn.address import AddressError, public_key
from wire import limits
from wire.errors import SettingsFault

PERIODS_S = {"minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Quota:
    """So many in a period of `seconds`."""

    count: int
    seconds: int
    words: str


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one key, or of all that are not named; None: no limit of its own.

    Attributes:
        services: names in RELAY_TARGETS.
        admin: whether everything is allowed on those services, not only reading and inference.
        paths, models: patterns as a shell has them; one must fit.
        options: whether a request may say what loads a model anew or keeps it in memory.
        running, queued: requests at a time.
        requests, tokens: in a period.
    """

    name: str = "default"
    services: tuple[str, ...] | None = None
    admin: bool = False
    paths: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    options: bool = True
    running: int | None = None
    queued: int | None = None
    requests: Quota | None = None
    tokens: Quota | None = None

    def may_use(self, service: str) -> bool:
        """Whether the service is among theirs."""
        return self.services is None or service in self.services

    def may_ask(self, path: str) -> bool:
        """Whether the path is."""
        return self.paths is None or any(fnmatchcase(path, pattern) for pattern in self.paths)

    def may_run(self, model: str) -> bool:
        """Whether the model is; a name without a tag means `latest`."""
        if self.models is None:
            return True
        full = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
        return any(fnmatchcase(name, pattern) for pattern in self.models for name in (model, full))


@dataclass(frozen=True, slots=True)
class Register:
    """All of them.

    Attributes:
        peers: key → its rights.
        default: everybody else's, or None: who is not named is a stranger.
    """

    peers: Mapping[bytes, Rights] = field(default_factory=dict)
    default: Rights | None = Rights()

    def of(self, key: bytes) -> Rights | None:
        """A key's rights; None for a stranger."""
        return self.peers.get(key, self.default)


EVERYBODY = Register()
"""Without a table all are alike."""


def parse(text: str, services: frozenset[str]) -> Register:
    """Read the table.

    Args:
        text: TOML.
        services: names in RELAY_TARGETS.

    Raises:
        ExceptionGroup: of SettingsFault, one for each mistake.
    """
    faults: list[SettingsFault] = []
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ExceptionGroup("policy", [SettingsFault("RELAY_POLICY", f"is no TOML: {error}")]) from error
    unknown = sorted(raw.keys() - {"default", "peers"})
    faults += [_fault(name, "is neither [default] nor [peers.NAME]") for name in unknown]
    default = _rights("default", raw["default"], services, faults) if "default" in raw else None
    peers: dict[bytes, Rights] = {}
    tables = raw.get("peers", {})
    if not isinstance(tables, dict):
        faults.append(_fault("peers", "must hold one table for each peer, as [peers.anna]"))
        tables = {}
    for name, table in tables.items():
        where = f"peers.{name}"
        key = _key(where, table, faults)
        rights = _rights(where, table, services, faults)
        if key in peers:
            faults.append(_fault(where, f"has the key of {peers[key].name}"))
        if key is not None:
            peers[key] = rights
    if faults:
        raise ExceptionGroup("policy", faults)
    return Register(peers, default)


def _key(where: str, table: Any, faults: list[SettingsFault]) -> bytes | None:
    key = table.get("key") if isinstance(table, dict) else None
    try:
        return public_key(key if isinstance(key, str) else "")
    except AddressError as error:
        faults.append(_fault(f"{where}.key", str(error)))
        return None


def _rights(where: str, table: Any, services: frozenset[str], faults: list[SettingsFault]) -> Rights:
    if not isinstance(table, dict):
        faults.append(_fault(where, f"must be a table, [{where}]"))
        return Rights()
    found: dict[str, Any] = {"name": where.removeprefix("peers.")}
    for name, value in table.items():
        if name == "key" and where != "default":
            continue
        try:
            found[name] = _FIELDS.get(name, _unknown)(value)
        except ValueError as error:
            faults.append(_fault(f"{where}.{name}", str(error)))
    unknown = sorted(set(found.get("services") or ()) - services)
    if unknown:
        faults.append(_fault(f"{where}.services", f"{unknown[0]!r} is not in RELAY_TARGETS"))
    return Rights(**found)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ValueError('must be a list of texts, such as ["gemma3:*"]')
    return tuple(value)


def _unknown(_value: Any) -> NoReturn:
    raise ValueError(f"is none of {', '.join(_FIELDS)}")


def _yes(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise ValueError("must be true or false")


def _count(most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise ValueError(f"must be a whole number from 0 to {most}")
        return value

    return check


def _quota(value: Any) -> Quota:
    count, _, period = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not (count.isascii() and count.isdecimal() and 0 < int(count) < 10**12 and period in PERIODS_S):
        raise ValueError(f'must be such as "100/hour"; periods are {", ".join(PERIODS_S)}')
    return Quota(int(count), PERIODS_S[period], value)


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "services": _names,
    "admin": _yes,
    "paths": _names,
    "models": _names,
    "options": _yes,
    "running": _count(limits.WORKERS_MAX),
    "queued": _count(limits.QUEUE_MAX),
    "requests": _quota,
    "tokens": _quota,
}


def _fault(where: str, words: str) -> SettingsFault:
    return SettingsFault(f"RELAY_POLICY, {where}", words)
