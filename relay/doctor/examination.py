"""All facts in, all findings out, in the order in which a person wants to read them.

Pure. Called by `cli`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relay.doctor import network, secretfile, upstreams
from relay.doctor.finding import fail, ok, warn
from relay.doctor.network import Way
from relay.doctor.secretfile import SecretFile
from relay.doctor.upstreams import Target
from wire.errors import SettingsFault
from wire.finding import Finding, foreign


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in.

    Attributes:
        address: of the relay, or "" while its seed cannot be read.
        everybody: whether whoever knows the address may ask.
        admin: services on which peers may do everything.
    """

    address: str = ""
    everybody: bool = True
    admin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """RELAY_METRICS_PORT: its number, why it cannot be had or "", and whether a relay answers there."""

    number: int = 0
    trouble: str = ""
    relay: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen.

    Attributes:
        faults: mistakes in the settings and in the file of rights.
        outside: keys that the environment sets.
    """

    file: SecretFile
    faults: Sequence[SettingsFault] = ()
    outside: Collection[str] = ()
    door: Door = Door()
    seeds: Sequence[Way] = ()
    bridges: Sequence[Way] = ()
    targets: Sequence[Target] = ()
    port: Port = Port()


def examine(facts: Facts) -> list[Finding]:
    """What there is to say."""
    return [
        *_settings(facts),
        *secretfile.judged(facts.file),
        *_door(facts.door),
        *network.bridges(facts.bridges),
        *network.seeds(facts.seeds, facts.bridges),
        *network.clock(facts.seeds),
        *upstreams.all_judged(facts.targets),
        _port(facts.port),
    ]


def _settings(facts: Facts) -> list[Finding]:
    """Each mistake by its key."""
    if not facts.faults:
        text = "no mistake in the settings"
        outside = f"; the environment sets {', '.join(sorted(facts.outside))}" if facts.outside else ""
        return [ok("settings", text + outside)]
    return [fail("settings", foreign(one.detail), _mend(facts, one.key)) for one in facts.faults]


def _mend(facts: Facts, key: str) -> str:
    if key in facts.outside:
        return (
            f"the environment sets it and wins over {foreign(facts.file.path)}: unset {key}, or mend it there"
        )
    return f"mend it in {foreign(facts.file.path)}; docs/protocol.md has every key"


def _door(door: Door) -> list[Finding]:
    told = [ok("address", door.address)] if door.address else []
    services = ", ".join(foreign(name) for name in door.admin)
    if door.everybody and door.admin:
        text = f"whoever knows the address may pull, delete and push at {services}"
        return [
            *told,
            warn("peers", text, "name your own keys: RELAY_ALLOW_PEERS, or take RELAY_ALLOW_ADMIN out"),
        ]
    if door.everybody:
        return [
            *told,
            ok("peers", "whoever knows the address may read and infer (RELAY_ALLOW_PEERS is empty)"),
        ]
    return [*told, ok("peers", "only keys that you named may ask")]


def _port(port: Port) -> Finding:
    if not port.number:
        return ok("port", "nothing is listened on (RELAY_METRICS_PORT is 0)")
    if port.relay:
        return ok("port", f"on port {port.number} a relay shows its figures already")
    if not port.trouble:
        return ok("port", f"port {port.number} is free for RELAY_METRICS_PORT")
    text = f"port {port.number} of RELAY_METRICS_PORT cannot be had: {foreign(port.trouble)}"
    return fail(
        "port", text, f"another number, or 0; sudo ss -ltnp 'sport = :{port.number}' shows who has it"
    )
