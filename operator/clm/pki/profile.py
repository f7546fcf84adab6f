"""The issuer of certificates: what depends on it alone is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509

from clm.pki.keys import key_spec_of, load_spki, supported

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from clm.pki.keys import PublicKey
    from clm.resources.keys import KeySpec

_Value = TypeVar("_Value", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Where certificates of one issuer send people: for CRLs, for OCSP, and for the issuer's own certificate."""

    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()
    ca_issuers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A key that signs certificates, with the name and identifier that they carry of it.

    `certificate_id`, `subject` and `not_after` are None for a key that signs its own certificate. `chain` is in DER,
    from the issuer's own certificate up to the root. `path_length` is how many CAs may follow below the issuer, and
    `name_constraints` what names may, by the whole chain; None and empty: no limit.
    """

    key_id: uuid.UUID
    spec: KeySpec
    public_key: PublicKey
    key_identifier: x509.SubjectKeyIdentifier
    certificate_id: uuid.UUID | None = None
    subject: x509.Name | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    path_length: int | None = None
    name_constraints: tuple[x509.NameConstraints, ...] = ()
    chain: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def from_chain(
        cls, chain: tuple[bytes, ...], *, key_id: uuid.UUID, spec: KeySpec, certificate_id: uuid.UUID
    ) -> Issuer:
        """Read a CA from its certificate and those above it.

        Raises ValueError when it is not the certificate of a CA whose key is of this kind.
        """
        certificates = [x509.load_der_x509_certificate(der) for der in chain]
        own = certificates[0]
        public_key = supported(own.public_key())
        if key_spec_of(public_key) != spec:
            raise ValueError(f"the CA's key is {key_spec_of(public_key)}, not {spec}")
        identifier = _value(own, x509.SubjectKeyIdentifier)
        usage = _value(own, x509.KeyUsage)
        if identifier is None or usage is None or not usage.key_cert_sign:
            raise ValueError("not the certificate of a CA: it lacks subjectKeyIdentifier or keyCertSign")
        return cls(
            key_id=key_id,
            spec=spec,
            public_key=public_key,
            key_identifier=identifier,
            certificate_id=certificate_id,
            subject=own.subject,
            not_before=own.not_valid_before_utc,
            not_after=own.not_valid_after_utc,
            path_length=_path_length(certificates),
            name_constraints=tuple(
                found for each in certificates if (found := _value(each, x509.NameConstraints)) is not None
            ),
            chain=chain,
        )

    @classmethod
    def self_signed(cls, *, key_id: uuid.UUID, spec: KeySpec, spki: bytes) -> Issuer:
        """Make the issuer of a certificate that is signed with its own key. Raises ValueError on an unknown key."""
        public_key = load_spki(spki)
        return cls(
            key_id=key_id,
            spec=spec,
            public_key=public_key,
            key_identifier=x509.SubjectKeyIdentifier.from_public_key(public_key),
        )


def _path_length(certificates: list[x509.Certificate]) -> int | None:
    """Count the CAs that may follow below the first: the least that any CA of the chain leaves (RFC 5280 6.1.4)."""
    left: list[int] = []
    for depth, certificate in enumerate(certificates):
        constraints = _value(certificate, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise ValueError("not the certificate of a CA: basicConstraints does not say so")
        if constraints.path_length is not None:
            left.append(constraints.path_length - depth)
    return min(left, default=None)


def _value(certificate: x509.Certificate, kind: type[_Value]) -> _Value | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
