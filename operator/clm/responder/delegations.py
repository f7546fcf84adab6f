"""The replica's keys for OCSP: made here, never written anywhere, certified by each CA for a short time.

A key is asked a certificate for by a row with its CSR; the controller has the CA sign it (RFC 6960 4.2.2.2). At half of
that certificate's life the next key is made; the old one signs until the new one may.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clm.pki.ocsp_response import ResponseSigner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clm.storage.core.certificate_status import DelegationAnswer, PublishedIssuer

logger = logging.getLogger(__name__)

RETRY_S = 60.0
"""When a refused request is made again."""


@dataclass(frozen=True, slots=True)
class Delegation:
    """A key that may sign answers for an issuer, and until when. Times are seconds since the epoch."""

    signer: ResponseSigner
    not_before: float
    not_after: float

    @property
    def renew_at(self) -> float:
        """Half of its life."""
        return (self.not_before + self.not_after) / 2


@dataclass(frozen=True, slots=True)
class DelegationRequest:
    """A key that waits for its certificate."""

    id: uuid.UUID
    issuer: PublishedIssuer
    csr: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)


class Delegations:
    """One key an issuer. Does no I/O: it says what to ask, and is told what was answered."""

    def __init__(self) -> None:
        self._current: dict[uuid.UUID, Delegation] = {}
        self._pending: dict[uuid.UUID, DelegationRequest] = {}
        self._retry_at: dict[uuid.UUID, float] = {}

    @property
    def current(self) -> dict[uuid.UUID, Delegation]:
        """What may sign, by the issuer's key."""
        return self._current

    @property
    def pending(self) -> list[uuid.UUID]:
        """Requests that no answer has come to."""
        return list(self._pending)

    def get(self, issuer_key_id: uuid.UUID) -> Delegation | None:
        """Find what signs for an issuer."""
        return self._current.get(issuer_key_id)

    def due(self, issuers: Iterable[PublishedIssuer], *, now: float) -> list[DelegationRequest]:
        """Make a key, and a request for it, for each issuer that needs one and has not asked yet."""
        asked = {request.issuer.key_id for request in self._pending.values()}
        made = []
        for issuer in issuers:
            current = self._current.get(issuer.key_id)
            due_at = current.renew_at if current is not None else 0
            is_due = now >= max(due_at, self._retry_at.get(issuer.key_id, 0))
            if issuer.ocsp_enabled and is_due and issuer.key_id not in asked:
                made.append(self._make(issuer))
        return made

    def asked(self, request: DelegationRequest) -> None:
        """Note that a request was written: its answer is waited for."""
        self._pending[request.id] = request

    def answered(self, answers: dict[uuid.UUID, DelegationAnswer], *, now: float) -> None:
        """Take up certificates that came. A request that is gone is forgotten, and made again when it is due."""
        for id, request in list(self._pending.items()):  # noqa: A001
            answer = answers.get(id)
            if answer is None:
                del self._pending[id]
            elif answer.refused_reason is not None:
                self._refused(request, answer.refused_reason, now)
            elif answer.certificate is not None:
                self._take(request, answer.certificate, now)

    def keep_only(self, issuers: Iterable[uuid.UUID]) -> None:
        """Forget the keys of issuers that are gone, or want no answers any more."""
        kept = set(issuers)
        self._current = {key: value for key, value in self._current.items() if key in kept}
        self._pending = {key: value for key, value in self._pending.items() if value.issuer.key_id in kept}

    def _make(self, issuer: PublishedIssuer) -> DelegationRequest:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OCSP responder")])
        csr = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
        return DelegationRequest(uuid.uuid4(), issuer, csr.public_bytes(serialization.Encoding.DER), key)

    def _take(self, request: DelegationRequest, der: bytes, now: float) -> None:
        try:
            certificate = _checked(der, request)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
            self._refused(request, f"what came is no delegation to this key: {error!r}", now)
            return
        del self._pending[request.id]
        self._current[request.issuer.key_id] = Delegation(
            ResponseSigner(request.key, der),
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
        )
        logger.info(
            "OCSP answers for %s are signed by a new key until %s", request.issuer.name, certificate.not_valid_after_utc
        )

    def _refused(self, request: DelegationRequest, reason: str, now: float) -> None:
        logger.warning("OCSP for %s: no certificate for a responder's key: %s", request.issuer.name, reason)
        del self._pending[request.id]
        self._retry_at[request.issuer.key_id] = now + RETRY_S


def _checked(der: bytes, request: DelegationRequest) -> x509.Certificate:
    """Read a certificate that clients will accept for this key (4.2.2.2). Raises what tells that they will not."""
    certificate = x509.load_der_x509_certificate(der)
    if certificate.public_key() != request.key.public_key():
        raise ValueError("it is of another key")
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(request.issuer.certificate))
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        raise ValueError("it does not say OCSPSigning")
    certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    return certificate
