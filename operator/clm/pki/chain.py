"""Recorded certificates: what is in them, and how a chain is written."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

from clm.pki.keys import key_spec_of, spki_der, supported
from clm.pki.names import common_name_of
from clm.pki.sans import as_record
from clm.pki.serial import serial_to_bytes
from clm.pki.usages import usage_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_PEM_COLUMNS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """What a certificate says of itself. `subject` and `issuer` are RFC 4514 text."""

    serial_number: bytes
    fingerprint_sha256: bytes
    spki_sha256: bytes
    subject: str
    issuer: str
    common_name: str | None
    sans: tuple[dict[str, str], ...]
    subject_key_identifier: bytes
    authority_key_identifier: bytes | None
    not_before: datetime
    not_after: datetime
    key_algorithm: str
    usages: tuple[str, ...]
    is_ca: bool
    path_length: int | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A chain as a Secret holds it, in PEM: `tls.crt` and `ca.crt`."""

    certificates: bytes
    root: bytes


def certificate_facts(der: bytes) -> CertificateFacts:
    """Read a certificate that CLM recorded. Raises ValueError on what is not one."""
    certificate = x509.load_der_x509_certificate(der)
    values = [extension.value for extension in certificate.extensions]
    by_oid = {value.oid: value for value in values}
    constraints = by_oid.get(x509.BasicConstraints.oid)
    ski = by_oid.get(x509.SubjectKeyIdentifier.oid)
    aki = by_oid.get(x509.AuthorityKeyIdentifier.oid)
    names = by_oid.get(x509.SubjectAlternativeName.oid)
    public_key = supported(certificate.public_key())
    return CertificateFacts(
        serial_number=serial_to_bytes(certificate.serial_number),
        fingerprint_sha256=hashlib.sha256(der).digest(),
        spki_sha256=hashlib.sha256(spki_der(public_key)).digest(),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        common_name=common_name_of(certificate.subject),
        sans=tuple(map(as_record, names)) if isinstance(names, x509.SubjectAlternativeName) else (),
        subject_key_identifier=ski.digest if isinstance(ski, x509.SubjectKeyIdentifier) else b"",
        authority_key_identifier=aki.key_identifier if isinstance(aki, x509.AuthorityKeyIdentifier) else None,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key_algorithm=str(key_spec_of(public_key)),
        usages=tuple(usage_names(values)),
        is_ca=isinstance(constraints, x509.BasicConstraints) and constraints.ca,
        path_length=constraints.path_length if isinstance(constraints, x509.BasicConstraints) else None,
    )


def bundle(certificate: bytes, chain: tuple[bytes, ...]) -> Bundle:
    """Write a certificate with its intermediates, leaf first and without the root, and the root apart.

    `chain` is in DER, from the issuer up to the root; it is empty for a self-signed certificate.
    """
    return Bundle(
        certificates=b"".join(map(to_pem, (certificate, *chain[:-1]))), root=to_pem(chain[-1] if chain else certificate)
    )


def to_pem(der: bytes) -> bytes:
    """Write a certificate in PEM, in lines of 64 columns (RFC 7468 5)."""
    lines = b"\n".join(_columns(base64.b64encode(der)))
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----\n"


def _columns(text: bytes) -> Iterator[bytes]:
    return (text[at : at + _PEM_COLUMNS] for at in range(0, len(text), _PEM_COLUMNS))
