"""Bundles of root certificates, written the same way every time."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from cryptography import x509

from clm.pki.chain import to_pem

if TYPE_CHECKING:
    from collections.abc import Iterable


def trust_bundle(roots: Iterable[bytes]) -> str:
    """Write root certificates in PEM, each below a line that tells people which it is.

    Sorted by name, then the longest-lived first: the same roots give the same text, whatever order they come in. Text
    between certificates is allowed, and skipped by every reader (RFC 7468 2). `roots` are in DER; doubles count once.
    """
    read = [(x509.load_der_x509_certificate(der), der) for der in set(roots)]
    read.sort(key=lambda pair: (pair[0].subject.rfc4514_string(), -pair[0].not_valid_after_utc.timestamp(), pair[1]))
    return "\n".join(_explained(certificate, der) for certificate, der in read)


def _explained(certificate: x509.Certificate, der: bytes) -> str:
    until = certificate.not_valid_after_utc.strftime("%Y-%m-%d")
    fingerprint = hashlib.sha256(der).hexdigest()
    return (
        f"# {_harmless(certificate.subject.rfc4514_string())}, until {until}, sha256 {fingerprint}\n"
        f"{to_pem(der).decode('ascii')}"
    )


def _harmless(name: str) -> str:
    """Write a name on one line of ASCII in which no reader finds the beginning of a certificate."""
    return re.sub("-{2,}", "-", json.dumps(name))
