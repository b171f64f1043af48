"""Certificates on paper: made, read and compared; names, validity, fingerprint.

Knows no file, socket or clock: `now` and names come in, PEM and words go out. Called by `keeping`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

import bounds
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SUBJECT = "gpu-over-nkn site, made on this machine"
_DER = serialization.Encoding.DER
_PEM = serialization.Encoding.PEM
_PUBLIC = serialization.PublicFormat.SubjectPublicKeyInfo


class Unusable(Exception):
    """What was read is no certificate or no key that can be used; the text completes "it …"."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, which belong together.

    Attributes:
        names: DNS names and addresses it is good for, in lower case.
        fingerprint: SHA-256, as browsers show it.
        public: the certificate alone, PEM.
    """

    names: frozenset[str]
    begins: dt.datetime
    ends: dt.datetime
    fingerprint: str
    public: bytes


def make(names: Collection[str], now: dt.datetime) -> bytes:
    """A fresh P-256 key and a certificate that it signed itself: PEM, key first.

    It is no authority: who trusts it trusts this server alone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _SUBJECT)])
    begins = now.replace(microsecond=0) - dt.timedelta(days=bounds.SKEW_DAYS)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=bounds.VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general(each) for each in sorted(names)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + built.public_bytes(_PEM)


def read(certificate: bytes, key: bytes) -> Pair:
    """A pair from two PEM texts, which may be the same one; further certificates are the chain.

    Raises:
        Unusable: says of which of the two what is wrong.
    """
    try:
        leaf = x509.load_pem_x509_certificate(certificate)
        names = _names(leaf)
    except (ValueError, x509.DuplicateExtension) as error:
        raise Unusable("holds no certificate in PEM form") from error
    if _public_of(key) != leaf.public_key().public_bytes(_DER, _PUBLIC):
        raise Unusable("is for another key")
    print_ = leaf.fingerprint(hashes.SHA256()).hex(":").upper()
    return Pair(names, leaf.not_valid_before_utc, leaf.not_valid_after_utc, print_, leaf.public_bytes(_PEM))


def canonical(name: str) -> str:
    """A name or address in the one form in which two are compared."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).compressed
    return name.lower()


def _public_of(key: bytes) -> bytes:
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:
        raise Unusable("has a key with a passphrase, which nobody is asked for") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("has no private key in PEM form") from error
    return private.public_key().public_bytes(_DER, _PUBLIC)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        listed = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    dns = listed.get_values_for_type(x509.DNSName)
    addresses = listed.get_values_for_type(x509.IPAddress)
    return frozenset(canonical(str(name)) for name in [*dns, *addresses])


def _general(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
