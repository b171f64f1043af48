"""What earlier farms left on this machine because they were killed together with their guards.

Called by `sources` before anything is started. A living farm's servers and everybody else's are not touched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable

from farm import launch, limits, looking, machine, ports


class Clearing:
    """Ends the servers and runners that farms started on these ports and nobody guards any more.

    Args:
        back_ports: those that are about to be used.
        dry: only tell.

    Attributes:
        notes: what was, or would be, ended, for the owner.
    """

    def __init__(self, back_ports: Iterable[int], *, dry: bool) -> None:
        left = looking.orphans(launch.MARK, frozenset(map(str, back_ports)))
        self.notes: list[str] = []
        self._dry = dry
        self._gone = {process.pid for process in left}
        if left:
            numbers = ", ".join(str(process.pid) for process in left)
            self.notes.append(f"an earlier farm left its Ollama behind: process {numbers} is ended")
            if not dry:
                looking.end(left, limits.STOP_S)

    def is_free(self, port: int) -> bool:
        """Whether a back port is free, once a container that a farm left there is removed."""
        if ports.is_free(port):
            return True
        container = _left_on(port)
        if container:
            self.notes.append(f"an earlier farm left its container behind: {container} is removed")
            if not self._dry:
                machine.ask("docker", "rm", "-f", container)
                return ports.is_free(port)
            return True
        holder = looking.holder_of(port)
        return self._dry and holder is not None and holder.pid in self._gone


def _left_on(port: int) -> str:
    """The name of the container that a farm started for that port and no guard watches; or ""."""
    name = launch.container(port)
    if shutil.which("docker") is None or looking.is_guarded(name):
        return ""
    labelled = f"label={launch.LABEL}={port}"
    code, out, _ = machine.ask("docker", "ps", "--all", "--filter", labelled, "--format", "{{.Names}}")
    return name if code == 0 and name in out.split() else ""
