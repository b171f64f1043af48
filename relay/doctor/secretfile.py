"""The file with the seed: is it there, and who can read it?

Pure. Looked for by `looking`, called by `examination`.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.doctor.finding import fail, ok, warn
from wire.finding import Finding, foreign

_OTHERS_READ = 0o044
_OTHERS_WRITE = 0o022


@dataclass(frozen=True, slots=True)
class SecretFile:
    """What the file system says of `.env`.

    Attributes:
        path: as it was given.
        trouble: why it cannot be looked at, or "".
        there: whether there is something of that name.
        leads_to: where a symbolic link leads, or "".
        plain: whether it is a file, not a folder or a device.
        mode: its rights.
        mine: whether it belongs to whoever asks.
        can_be_made: whether it could be made, when it is not there.
    """

    path: str
    trouble: str = ""
    there: bool = True
    leads_to: str = ""
    plain: bool = True
    mode: int = 0o600
    mine: bool = True
    can_be_made: bool = True


def judged(file: SecretFile) -> list[Finding]:
    """What there is to say of it."""
    path = foreign(file.path)
    if file.trouble:
        return [fail("env-file", f"{path} cannot be looked at: {foreign(file.trouble)}", f"ls -ld {path}")]
    if not file.there:
        return [_absent(file, path)]
    if not file.plain:
        return [fail("env-file", f"{path} is no file", f"move it away: mv {path} {path}.old")]
    told = [*_rights(file, path)]
    if file.leads_to:
        target = foreign(file.leads_to)
        text = f"{path} is a symbolic link to {target}: whoever may write there is this relay"
        remedy = f"put the file itself there: cp --remove-destination {target} {path} && chmod 600 {path}"
        told.append(warn("env-file", text, remedy))
    return told or [ok("env-file", f"{path} is yours alone (mode {file.mode:04o})")]


def _absent(file: SecretFile, path: str) -> Finding:
    if file.leads_to:
        return fail("env-file", f"{path} is a symbolic link to {foreign(file.leads_to)}, which is not there",
                    f"rm {path}; the next start makes a new identity")  # fmt: skip
    if not file.can_be_made:
        return fail("env-file", f"{path} is not there and cannot be made",
                    "--env-file with a name in a folder that is yours")  # fmt: skip
    return warn("env-file", f"{path} is not there", "python -m relay makes it, with a fresh identity")


def _rights(file: SecretFile, path: str) -> list[Finding]:
    told = []
    if not file.mine:
        text = f"{path} belongs to somebody else, who can read the seed in it"
        told.append(fail("env-file", text, f"sudo chown $USER {path} && chmod 600 {path}"))
    if file.mode & _OTHERS_WRITE:
        text = f"others can write to {path} (mode {file.mode:04o}): they choose who this relay is"
        told.append(fail("env-file", text, f"chmod 600 {path}"))
    elif file.mode & _OTHERS_READ:
        text = f"others can read {path} (mode {file.mode:04o}), and with it the seed"
        told.append(fail("env-file", text, f"chmod 600 {path}"))
    return told
