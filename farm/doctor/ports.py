"""Who has the ports that the farm wants, and which Ollamas strangers can reach.

Pure. Called by `examination`.
"""

from __future__ import annotations

from collections.abc import Sequence

from farm.doctor.containers import Container, is_open, publishing
from farm.doctor.finding import note, ok, trouble
from farm.doctor.servers import Answer, Kind, Listener, Owner, Servers, Unit, is_ollamas, owner_of
from wire.finding import Finding, foreign


def ports(
    wanted: Sequence[int],
    servers: Servers,
    containers: Sequence[Container],
    unit: Unit | None,
    *,
    front: int,
    back: int,
) -> list[Finding]:
    """Each port of interest.

    Args:
        wanted: the ports.
        servers: what listens and answers.
        containers: of docker.
        unit: the system service.
        front: the port among them that the farm's front wants.
        back: the one where it wants an Ollama, or nobody.
    """
    told = []
    free = []
    for port in wanted:
        held, box, answer = servers.listening(port), publishing(containers, port), servers.at(port)
        if not held and box is None and answer is None:
            free.append(port)
            continue
        owner = owner_of(port, servers, containers, unit)
        told.append(_taken(port, answer, owner, flag=_flag(port, front, back)))
    if free and servers.listeners is not None:
        told.append(ok("port", f"{_numbers(free)} {'is' if len(free) == 1 else 'are'} free"))
    elif free:
        told.append(ok("port", f"nothing answers on {_numbers(free)}"))
    return told


def _numbers(some: Sequence[int]) -> str:
    return f"port{'s' if len(some) > 1 else ''} {', '.join(map(str, some))}"


def _flag(port: int, front: int, back: int) -> str:
    return "--front-port" if port == front else "--back-port" if port == back else ""


def _taken(port: int, answer: Answer | None, owner: Owner, *, flag: str) -> Finding:
    who = foreign(owner.words)
    kind = None if answer is None else answer.kind
    if answer is not None and kind is Kind.OLLAMA:
        what = "the farm's embedded engine" if answer.embedded else f"Ollama {foreign(answer.version)}"
        if flag == "--front-port":
            return trouble(
                "port", f"{port}, where the farm's front goes, has {what} ({who})", _remedy(port, owner, flag)
            )
        return ok("port", f"{port}: {what} ({who})")
    if kind is Kind.FARM:
        if flag == "--back-port":
            return trouble(
                "port",
                f"{port}, where an Ollama goes, has the front of a farm ({who})",
                _remedy(port, owner, flag),
            )
        return ok("port", f"{port}: the front of a farm ({who})")
    silent = "" if answer is not None else ", which does not answer in HTTP"
    if not flag:
        return note("port", f"{port} is taken by {who}{silent}; the farm wants it only if you say so")
    return trouble("port", f"{port} is taken by {who}{silent}", _remedy(port, owner, flag))


def _remedy(port: int, owner: Owner, flag: str) -> str:
    other = f"or {flag} with another number"
    if owner.container:
        return f"docker rm -f {foreign(owner.container)}; {other}"
    if owner.unit == "ollama":
        return f"sudo systemctl disable --now ollama; {other}"
    if owner.unit:
        sudo = "" if owner.unit.startswith("--user") else "sudo "
        return f"{sudo}systemctl stop {foreign(owner.unit)}; {other}"
    if owner.pid is not None:
        return f"kill {owner.pid}; {other}"
    return f"sudo ss -ltnp 'sport = :{port}' shows which; {other}"


def exposed(servers: Servers, containers: Sequence[Container], unit: Unit | None) -> list[Finding]:
    """Which Ollamas and fronts can be reached from other machines."""
    told: dict[int, Finding] = {}
    pids = {serve.pid for serve in servers.serves}
    for one in servers.listeners or ():
        answer = servers.at(one.port)
        kind = None if answer is None else answer.kind
        if not is_open(one.address) or one.port in told:
            continue
        if kind is Kind.OLLAMA or one.pid in pids:
            told[one.port] = _open(one, owner_of(one.port, servers, containers, unit))
        elif kind is Kind.FARM:
            where = foreign(one.address)
            text = f"the farm's front on port {one.port} can be reached from other machines ({where})"
            told[one.port] = note("exposed", text, "without --host only this machine reaches it")
    for box in containers:
        for address, port, _ in box.ports:
            if box.running and is_ollamas(box) and is_open(address):
                told[port] = _open(Listener(address, port), owner_of(port, servers, containers, unit))
    return list(told.values()) or [ok("exposed", "no Ollama here can be reached from other machines")]


def _open(one: Listener, owner: Owner) -> Finding:
    text = (
        f"the Ollama on port {one.port} ({foreign(owner.words)}) can be reached from other machines "
        f"({foreign(one.address)}): whoever does may use, pull and delete models"
    )
    if owner.container:
        remedy = (
            f"docker rm -f {foreign(owner.container)}, then start it with -p 127.0.0.1:{one.port}:11434; "
            "docker's ports pass by ufw"
        )
    elif owner.unit == "ollama":
        remedy = (
            'sudo systemctl edit ollama: [Service] Environment="OLLAMA_HOST=127.0.0.1"; '
            "then sudo systemctl restart ollama"
        )
    else:
        remedy = f"start it with OLLAMA_HOST=127.0.0.1:{one.port}"
    return trouble("exposed", text, f"{remedy}. See: ss -ltn 'sport = :{one.port}'")
