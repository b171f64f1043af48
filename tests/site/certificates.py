"""Certificates of an owner, good ones and bad ones, for tests."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)
PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Made(NamedTuple):
    cert: Path
    key: Path


def new_key(kind: str = "ec") -> Key:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key(ec.SECP256R1())


def secret(key: Key, passphrase: bytes = b"", form: str = "PKCS8") -> bytes:
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(PEM, getattr(serialization.PrivateFormat, form), locked)


def sign(
    key: Key,
    *,
    names: tuple[str, ...] = ("gpu.example.org",),
    begins: float = -1,
    ends: float = 30,
    issuer: Key | None = None,
) -> bytes:
    """A certificate in PEM form.

    Args:
        begins, ends: days from now.
        issuer: another key that signs it; without one it is signed by its own.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an owner")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=begins))
        .not_valid_after(NOW + dt.timedelta(days=ends))
    )
    if names:
        listed = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    algorithm = None if isinstance(issuer or key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer or key, algorithm).public_bytes(PEM)


def put(folder: Path, cert: bytes, key: bytes) -> Made:
    made = Made(folder / "owner.crt", folder / "owner.key")
    made.cert.write_bytes(cert)
    made.key.write_bytes(key)
    made.key.chmod(0o600)
    return made


def pair(folder: Path, **how: object) -> Made:
    key = new_key()
    return put(folder, sign(key, **how), secret(key))
