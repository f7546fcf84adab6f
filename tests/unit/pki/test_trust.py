"""A bundle of roots is the same text for the same roots, and nothing in it can be taken for another certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from clm.pki.trust import trust_bundle

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def _root(name: str, *, days: int) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = x509.CertificateBuilder(
        issuer_name=subject,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=days),
    ).sign(key, None)
    return certificate.public_bytes(serialization.Encoding.DER)


def test_the_order_in_which_roots_come_does_not_show() -> None:
    """Whatever the database gives first: no write because of it."""
    roots = [_root("A", days=10), _root("A", days=20), _root("B", days=5)]
    texts = {trust_bundle(order) for order in permutations(roots)} | {trust_bundle([*roots, *roots])}
    assert len(texts) == 1
    read = x509.load_pem_x509_certificates(texts.pop().encode())
    assert [certificate.not_valid_after_utc for certificate in read] == [
        NOW + timedelta(days=days) for days in (20, 10, 5)
    ]


def test_a_name_cannot_smuggle_in_a_certificate() -> None:
    """The line for people is one line, and holds no mark at which a reader would begin."""
    false = "x\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    text = trust_bundle([_root(false, days=1)])
    assert text.count("-----BEGIN") == text.count("-----END") == 1
    assert text.index("\n") < text.index("-----BEGIN")
    assert len(x509.load_pem_x509_certificates(text.encode())) == 1


def test_no_roots_are_no_text() -> None:
    """An empty bundle is told apart by those who write: they never write one."""
    assert trust_bundle([]) == ""
