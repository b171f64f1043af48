"""Where key and certificate lie: our own, made on first run and kept; the owner's, checked.

Called by `server`. One file holds our key and certificate, so that no crash and no second server leaves a
key beside another's certificate. It lies in the user's folder and not in the checkout: it belongs to this
user on this machine, outlives `git clean` and a new clone, and is in no copy of the tree for somebody else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import ssl
import stat
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import bounds
import certificate
from certificate import Pair, Unusable
from faults import SiteFault, reason

_BOTH = "site.pem"
_PUBLIC = "site.crt"
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secret and authenticated; those of 1.3 all are."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A pair that can be served.

    Attributes:
        context: for the TLS side of the server.
        own: whether the server made it itself, so that browsers warn.
        public: file with the certificate alone.
        note: something its owner should know, or "".
    """

    pair: Pair
    context: ssl.SSLContext
    own: bool
    public: Path
    note: str = ""


def default_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The folder of this user for what programs keep."""
    try:
        if platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "gpu-over-nkn"
        if platform == "win32" and environ.get("LOCALAPPDATA"):
            return Path(environ["LOCALAPPDATA"]) / "gpu-over-nkn"
        named = Path(environ.get("XDG_DATA_HOME", ""))
        return (named if named.is_absolute() else Path.home() / ".local" / "share") / "gpu-over-nkn"
    except RuntimeError as error:
        raise SiteFault(
            "this user has no home folder; name one for the certificate with --cert-dir", 2
        ) from error


def own(folder: Path, names: Collection[str], now: dt.datetime) -> Kept:
    """Our own pair, kept in a folder and made if there is none that will do.

    Raises:
        SiteFault: the folder cannot be used.
    """
    path, public = folder / _BOTH, folder / _PUBLIC
    try:
        _prepare(folder)
        pair, why = _look(path, names, now)
        if pair is None:
            _write(path, certificate.make(names, now), fresh=not why)
            data = path.read_bytes()  # of another server, if that was first
            pair = certificate.read(data, data)
        with contextlib.suppress(OSError):  # a convenience; a folder that is read-only now serves as well
            _publish(public, pair.public)
        context = _context(path, path)
    except OSError as error:  # ssl.SSLError is one
        raise SiteFault(
            f"no certificate can be kept in {folder} ({reason(error)}); name another folder with --cert-dir",
            2,
        ) from error
    except Unusable as error:
        raise SiteFault(f"{path} {error}; is something else writing to it?", 1) from error
    note = f"made a new certificate: the one before {why}" if why else ""
    return Kept(pair, context, own=True, public=public, note=note)


def owners(cert: Path, key: Path, now: dt.datetime) -> Kept:
    """A pair of the owner's.

    Raises:
        SiteFault: names the flag and what is wrong.
    """
    texts = [_read(flag, path) for flag, path in (("--cert", cert), ("--key", key))]
    try:
        pair = certificate.read(*texts)
    except Unusable as error:
        raise SiteFault(f"--cert {cert} with --key {key} {error}", 2) from error
    if now > pair.ends:
        raise SiteFault(f"--cert {cert} ended on {pair.ends:%Y-%m-%d %H:%M} UTC; renew it", 2)
    if now < pair.begins:
        raise SiteFault(
            f"--cert {cert} begins only on {pair.begins:%Y-%m-%d %H:%M} UTC; is the clock right?", 2
        )
    try:
        context = _context(cert, key)
    except (ssl.SSLError, OSError) as error:
        raise SiteFault(f"--cert {cert} with --key {key} cannot be used for TLS: {error}", 2) from error
    note = f"{key} can be read by every user of this machine; `chmod 600` it" if _open_to_all(key) else ""
    return Kept(pair, context, own=False, public=cert, note=note)


def _look(path: Path, names: Collection[str], now: dt.datetime) -> tuple[Pair | None, str]:
    """The pair that lies there if it will do, else why not; "" if none was there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None, ""
    if os.name == "posix" and found.st_uid != os.geteuid():
        return None, "belonged to another user"
    if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None, "could be read by others"
    try:
        data = path.read_bytes()
        pair = certificate.read(data, data)
    except Unusable as error:
        return None, str(error)
    if now + dt.timedelta(days=bounds.RENEW_DAYS) > pair.ends or now < pair.begins:
        return None, f"was good until {pair.ends:%Y-%m-%d}"
    lacking = sorted({certificate.canonical(name) for name in names} - pair.names)
    return (None, f"was not for {', '.join(lacking)}") if lacking else (pair, "")


def _prepare(folder: Path) -> None:
    """The folder, made for this user alone if it is not there."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)  # another server may be as far
        folder.chmod(0o700)  # whatever the umask is
    if os.name == "posix" and folder.stat().st_mode & stat.S_IWOTH:
        raise SiteFault(f"every user can write to {folder}; name another folder with --cert-dir", 2)


def _write(path: Path, data: bytes, *, fresh: bool) -> None:
    """Put a file of mode 0600 in place whole; with `fresh`, only if no other server was first."""
    made = _beside(path, data, 0o600)
    try:
        if fresh:
            with contextlib.suppress(FileExistsError):
                _link(made, path)
        else:
            made.replace(path)
    finally:
        made.unlink(missing_ok=True)


def _link(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        made.replace(path)


def _publish(path: Path, data: bytes) -> None:
    """The certificate alone, for whoever wants to trust it; written only when it differs."""
    if path.is_file() and path.read_bytes() == data:
        return
    _beside(path, data, 0o644).replace(path)


def _beside(path: Path, data: bytes, mode: int) -> Path:
    """A file under a name of its own, whole and on the disk."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600 from the first moment
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        made.chmod(mode)  # whatever the umask is
    except OSError:
        made.unlink()
        raise
    return made


def _read(flag: str, path: Path) -> bytes:
    try:
        if path.stat().st_size > bounds.PEM_MAX_B:
            raise SiteFault(f"{flag} {path} is too large for a PEM file", 2)
        return path.read_bytes()
    except OSError as error:
        raise SiteFault(f"{flag} {path} cannot be read: {reason(error)}", 2) from error


def _open_to_all(path: Path) -> bool:
    return os.name == "posix" and bool(path.stat().st_mode & stat.S_IROTH)


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert, key)
    return context
