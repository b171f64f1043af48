"""`.env` and the environment → Settings; every mistake is one line that names its key.

The environment wins over the file. Called by `cli`; keys and defaults are those of the published
contract (docs/protocol.md), ours stand beside them.
"""

from __future__ import annotations

import difflib
import io
import math
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from relay.keyfile import parse_seed
from relay.nkn import DEFAULT_SEEDS
from relay.nkn.address import AddressError, public_key
from wire import jsontext, limits
from wire.errors import SettingsFault
from wire.origin import Origin


@dataclass(frozen=True, slots=True)
class Settings:
    """What a relay was told; field names are the keys in lower case."""

    nkn_seed_hex: bytes
    nkn_num_subclients: int
    nkn_identifier: str
    nkn_rpc_addr: tuple[str, ...]
    nkn_bridge_seed_ws: tuple[str, ...]
    relay_workers: int
    relay_max_body_b: int
    relay_verify_default: bool
    relay_allow_unverified: bool
    relay_targets: Mapping[str, Origin]
    relay_allow_peers: frozenset[bytes]
    relay_allow_admin: frozenset[str]
    relay_policy: str
    relay_peer_streams: int
    relay_queue: int
    relay_keepalive_s: float
    relay_metrics_port: int

    def __repr__(self) -> str:
        return f"Settings(targets={sorted(self.relay_targets)})"  # the seed stays out of every log


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read settings.

    Raises:
        ExceptionGroup: of SettingsFault, one per mistake.
    """
    settings, faults = examine(path, environ)
    if faults:
        raise ExceptionGroup("settings", faults)
    return settings


def examine(
    path: Path, environ: Mapping[str, str], *, there: bool = True
) -> tuple[Settings, list[SettingsFault]]:
    """Settings, with the default or None in place of each mistake; and the mistakes.

    Args:
        there: whether the file is there; without it the environment alone is read.

    Raises:
        ExceptionGroup: of SettingsFault: the file cannot be read.
    """
    faults: list[SettingsFault] = []
    values = (_read_file(path, faults) if there else {}) | {
        key: environ[key] for key in KEYS if key in environ
    }

    def read(key: str, parse: Callable[[str, str], Any], default: Any = None) -> Any:
        raw = values.get(key, "").strip()
        try:
            if not raw and default is not None:
                return default
            return parse(key, raw)
        except SettingsFault as fault:
            faults.append(fault)
            return default

    workers = read("RELAY_WORKERS", _count(1, limits.WORKERS_MAX), limits.WORKERS)
    targets = read("RELAY_TARGETS", _targets, {"ollama": Origin.parse("http://127.0.0.1:8080")})
    settings = Settings(
        nkn_seed_hex=read("NKN_SEED_HEX", parse_seed),
        nkn_num_subclients=read("NKN_NUM_SUBCLIENTS", _count(0, 16), 2),
        nkn_identifier=read("NKN_IDENTIFIER", _identifier, "relay"),
        nkn_rpc_addr=read("NKN_RPC_ADDR", _urls("http://", "https://"), DEFAULT_SEEDS),
        nkn_bridge_seed_ws=read("NKN_BRIDGE_SEED_WS", _urls("ws://", "wss://"), ()),
        relay_workers=workers,
        relay_max_body_b=read("RELAY_MAX_BODY_B", _count(1, limits.MAX_BODY_LIMIT_B), limits.MAX_BODY_B),
        relay_verify_default=read("RELAY_VERIFY_DEFAULT", _switch, default=True),
        relay_allow_unverified=read("RELAY_ALLOW_UNVERIFIED", _switch, default=True),
        relay_targets=targets,
        relay_allow_peers=read("RELAY_ALLOW_PEERS", _peers, frozenset()),
        relay_allow_admin=read("RELAY_ALLOW_ADMIN", _admin(frozenset(targets or ())), frozenset()),
        relay_policy=read("RELAY_POLICY", _beside(path), ""),
        relay_peer_streams=read(
            "RELAY_PEER_STREAMS", _count(1, limits.WORKERS_MAX), max(1, (workers or 1) - 1)
        ),
        relay_queue=read("RELAY_QUEUE", _count(1, limits.QUEUE_MAX), limits.QUEUE),
        relay_keepalive_s=read("RELAY_KEEPALIVE_S", _seconds, limits.KEEPALIVE_S),
        relay_metrics_port=read("RELAY_METRICS_PORT", _count(0, 65535), 0),
    )
    return settings, faults


KEYS = tuple(name.upper() for name in Settings.__slots__)
"""Every key that is read."""


def _read_file(path: Path, faults: list[SettingsFault]) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ExceptionGroup("settings", [SettingsFault(str(path), f"cannot be read: {reason}")]) from error
    values: dict[str, str] = {}
    # The bindings themselves: no interpolation, a `$` in a value is a `$`, and no line is lost in silence.
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            faults.append(SettingsFault(f"{path}, line {binding.original.line}", "is not KEY=value"))
        elif binding.key is not None:
            values[binding.key] = binding.value or ""
    faults += [_misspelt(key) for key in values if key not in KEYS and key.startswith(("RELAY_", "NKN_"))]
    return values


def _misspelt(key: str) -> SettingsFault:
    """A key that looks like ours: unnoticed, a limit the owner set would not hold."""
    near = difflib.get_close_matches(key, KEYS, n=1)
    return SettingsFault(key[:60], f"is no setting; did you mean {near[0]}?" if near else "is no setting")


def _count(low: int, high: int) -> Callable[[str, str], int]:
    def parse(key: str, text: str) -> int:
        if not text.isdecimal() or not text.isascii() or len(text) > 12 or not low <= int(text) <= high:
            raise SettingsFault(key, f"must be a whole number from {low} to {high}, not {_shown(text)}")
        return int(text)

    return parse


def _seconds(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= 3600:
        raise SettingsFault(key, f"must be seconds from 0.1 to 3600, not {_shown(text)}")
    return value


def _switch(key: str, text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise SettingsFault(key, f"must be 1 or 0, not {_shown(text)}")


def _identifier(key: str, text: str) -> str:
    if len(text) > 64 or text.startswith("__") or not text.isprintable():
        raise SettingsFault(key, "must be at most 64 printable characters and not begin with __")
    return text


def _urls(*schemes: str) -> Callable[[str, str], tuple[str, ...]]:
    def parse(key: str, text: str) -> tuple[str, ...]:
        urls = _csv(text)
        for url in urls:
            if "@" in url:
                raise SettingsFault(key, "a URL must not hold a user name or password")
            if not url.startswith(schemes) or not _names_host(url):
                asked = " or ".join(schemes)
                raise SettingsFault(key, f"{_shown(url)} must begin with {asked} and name a host")
        return urls

    return parse


def _names_host(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not any(char.isspace() for char in url)
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def _targets(key: str, text: str) -> dict[str, Origin]:
    example = '{"ollama":"http://127.0.0.1:8080"}'
    try:
        raw = jsontext.loads(text)
    except jsontext.JsonError as error:
        raise SettingsFault(key, f"must be JSON such as {example}") from error
    if not isinstance(raw, dict) or not raw:
        raise SettingsFault(key, f"must be a JSON object such as {example}")
    targets = {}
    for name, url in raw.items():
        if not name or not name.isprintable() or "," in name or len(name) > 64:
            raise SettingsFault(key, f"{_shown(name)} is no service name: printable text without commas")
        try:
            targets[name] = Origin.parse(url)
        except ValueError as error:
            raise SettingsFault(key, f"{_shown(name)}: {error}") from error
    return targets


def _peers(key: str, text: str) -> frozenset[bytes]:
    try:
        return frozenset(public_key(peer) for peer in _csv(text))
    except AddressError as error:
        raise SettingsFault(key, str(error)) from error


def _admin(services: frozenset[str]) -> Callable[[str, str], frozenset[str]]:
    def parse(key: str, text: str) -> frozenset[str]:
        if text.lower() in {"0", "false", "no", "off"}:
            return frozenset()
        if text.lower() in {"1", "true", "yes", "on"}:
            return services
        named = frozenset(_csv(text))
        if not named <= services:
            raise SettingsFault(
                key, f"must be 0, 1 or names of services in RELAY_TARGETS, not {_shown(text)}"
            )
        return named

    return parse


def _beside(env: Path) -> Callable[[str, str], str]:
    """The name of a file, as seen from the folder of the settings."""

    def parse(key: str, text: str) -> str:
        if not text.isprintable():
            raise SettingsFault(key, "must be the name of a file")
        return str(env.parent / text)

    return parse


def _csv(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
