"""Revocations: the reasons of RFC 5280 5.3.1, what can be revoked, and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping
    from datetime import datetime

    from clm.resources.records import Owner

RevocationReason = Literal[
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
]
"""Reasons that CLM takes. Not certificateHold and removeFromCRL, since a revocation is for good, nor aACompromise:
attribute certificates are not issued."""

REASONS: tuple[RevocationReason, ...] = get_args(RevocationReason)

REASON_CODES: Mapping[RevocationReason, int] = {
    "unspecified": 0,
    "keyCompromise": 1,
    "cACompromise": 2,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
    "privilegeWithdrawn": 9,
}
"""CRLReason (RFC 5280 5.3.1). Code 0 is told by leaving the extension out."""

COMPROMISES: frozenset[RevocationReason] = frozenset({"keyCompromise", "cACompromise"})
"""Reasons that say something of the private key, and may replace an earlier reason that did not."""

_NAMES = {code: name for name, code in REASON_CODES.items()}


def reason_name(code: int) -> RevocationReason:
    """Name of a reason that CLM recorded.

    >>> reason_name(1)
    'keyCompromise'
    """
    return _NAMES[code]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A revocation as clm_secure_db has it: all that a CRL entry and an OCSP answer say.

    `is_authority`: the certificate is of a CA whose key is in the HSM.
    """

    certificate_id: uuid.UUID
    organization_id: uuid.UUID
    issuer_key_id: uuid.UUID
    serial_number: bytes
    reason: RevocationReason
    revoked_at: datetime
    invalidity_date: datetime | None
    not_after: datetime
    is_authority: bool


class RevocationMark(NamedTuple):
    """A revocation as either database has it, for comparing the two."""

    certificate_id: uuid.UUID
    issuer_key_id: uuid.UUID
    serial_number: bytes
    reason_code: int
    is_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocable:
    """A recorded certificate that may be revoked, or was: then `reason` and `revoked_at` say so."""

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    serial_number: bytes
    issuer_key_id: uuid.UUID
    issuer: str
    issuer_name: str
    subject: str
    private_key_id: uuid.UUID | None
    subject_key_id: uuid.UUID | None
    not_after: datetime
    state: Literal["active", "superseded", "revoked"]
    reason: RevocationReason | None
    revoked_at: datetime | None

    @property
    def is_self_signed(self) -> bool:
        """Whether its own key signed it: nobody asks a trust anchor whether it is revoked (RFC 5280 6.1)."""
        return self.subject_key_id == self.issuer_key_id

    def would_change(self, reason: RevocationReason) -> bool:
        """Tell whether revoking it for this reason would say something new."""
        if self.reason is None:
            return not self.is_self_signed
        return reason in COMPROMISES and self.reason not in COMPROMISES


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Why certificates are revoked, and by whom. `details` goes into the audit record of each."""

    reason: RevocationReason
    actor_type: Literal["operator", "user"] = "operator"
    actor_id: str = "clm-controller"
    invalidity_date: datetime | None = None
    comment: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
