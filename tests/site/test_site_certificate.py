"""certificate: what is made is what browsers and phones accept, and no more than that."""

from __future__ import annotations

import datetime as dt
import ipaddress

import bounds
import certificate
import pytest
from certificates import new_key, secret, sign
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

NOW = dt.datetime(2026, 5, 4, 3, 2, 1, 999, tzinfo=dt.UTC)
NAMES = ("localhost", "127.0.0.1", "::1", "gpu.local", "192.0.2.7")


def made(names: tuple[str, ...] = NAMES) -> tuple[bytes, x509.Certificate]:
    pem = certificate.make(names, NOW)
    return pem, x509.load_pem_x509_certificate(pem)


def test_key_and_signature() -> None:
    _, leaf = made()
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
    leaf.verify_directly_issued_by(leaf)
    assert leaf.serial_number.bit_length() > 64


def test_it_is_good_from_a_day_ago_for_at_most_825_days() -> None:
    _, leaf = made()
    assert leaf.not_valid_before_utc == dt.datetime(2026, 5, 3, 3, 2, 1, tzinfo=dt.UTC)
    assert (
        dt.timedelta(days=800)
        < leaf.not_valid_after_utc - leaf.not_valid_before_utc
        <= dt.timedelta(days=825)
    )


def test_its_names_and_what_it_may_be_used_for() -> None:
    _, leaf = made()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "gpu.local"}
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address(name) for name in ("127.0.0.1", "::1", "192.0.2.7")
    }
    use = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign


def test_who_trusts_it_trusts_no_other_certificate() -> None:
    _, leaf = made()
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value.ca is False


def test_two_are_never_alike() -> None:
    (_, one), (_, two) = made(), made()
    assert one.serial_number != two.serial_number
    assert one.public_key() != two.public_key()


def test_reading_one_that_was_made() -> None:
    pem, leaf = made()
    pair = certificate.read(pem, pem)
    assert pair.names == frozenset(NAMES)
    assert (pair.begins, pair.ends) == (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    assert pair.fingerprint == ":".join(f"{byte:02X}" for byte in leaf.fingerprint(hashes.SHA256()))
    assert pair.public in pem
    assert b"PRIVATE" not in pair.public


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        (lambda key: b"", secret, "holds no certificate"),
        (lambda key: b"garbage", secret, "holds no certificate"),
        (secret, secret, "holds no certificate"),
        (lambda key: sign(key)[:200], secret, "holds no certificate"),
        (lambda key: sign(key).replace(b"M", b"!", 5), secret, "holds no certificate"),
        (sign, lambda key: b"", "has no private key"),
        (sign, sign, "has no private key"),
        (sign, lambda key: secret(key)[:100], "has no private key"),
        (sign, lambda key: secret(key, b"word"), "has a key with a passphrase"),
        (sign, lambda key: secret(key, b"word", "TraditionalOpenSSL"), "has a key with a passphrase"),
        (sign, lambda key: secret(new_key()), "is for another key"),
        (sign, lambda key: secret(new_key("ed25519")), "is for another key"),
        (lambda key: sign(new_key(), issuer=key), secret, "is for another key"),
    ],
)
def test_what_cannot_be_read_says_why(cert, key, words: str) -> None:
    one = new_key()
    with pytest.raises(certificate.Unusable, match=words):
        certificate.read(cert(one), key(one))


@pytest.mark.parametrize("kind", ["ec", "ed25519", "rsa2048"])
@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_keys_of_all_usual_kinds_are_read(kind: str, form: str) -> None:
    key = new_key(kind)
    if kind == "ed25519" and form != "PKCS8":
        return  # there is no such form
    pair = certificate.read(sign(key), secret(key, form=form))
    assert pair.names == {"gpu.example.org"}


def test_a_chain_is_read_by_its_first_certificate() -> None:
    authority, key = new_key(), new_key()
    chain = sign(key, issuer=authority, names=("leaf.example",)) + sign(
        authority, names=("authority.example",)
    )
    assert certificate.read(chain, secret(key)).names == {"leaf.example"}


def test_a_certificate_without_names_has_none() -> None:
    key = new_key()
    assert certificate.read(sign(key, names=()), secret(key)).names == frozenset()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("LocalHost", "localhost"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FE80::0001", "fe80::1"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_names_in_the_one_form_in_which_they_are_compared(name: str, form: str) -> None:
    assert certificate.canonical(name) == form


def test_the_numbers_keep_the_promise() -> None:
    assert bounds.VALID_DAYS <= 825
    assert bounds.RENEW_DAYS < bounds.VALID_DAYS
