"""Rows as the two databases hold them, and what one certificate is on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.resources.keys import KeySpec
    from clm.resources.quotas import Quota

KeyPurpose = Literal["ca-signing", "kek", "audit-sealing", "subject-shred", "requester-mac"]
KeyState = Literal["generating", "active", "suspended", "deactivated", "compromised", "destroyed"]
IssueReason = Literal["initial", "spec-changed", "renewal", "issuer-changed", "re-key", "manual"]


class Owner(NamedTuple):
    """The Certificate object that something was made for."""

    cluster_id: uuid.UUID
    resource_uid: uuid.UUID
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HsmKeyRow:
    """One row of encryption_keys: a key in the token, or one that a key in the token wraps. `id` is its CKA_ID."""

    id: uuid.UUID
    organization_id: uuid.UUID
    purpose: KeyPurpose
    algorithm: str
    version: int
    label: str
    state: KeyState
    owner: Owner | None = None
    token_serial: str | None = None
    spki: bytes | None = None
    check_value: bytes | None = None
    state_reason: str | None = None

    @property
    def is_in_token(self) -> bool:
        """Whether its key is, or will be, an object of the token."""
        return self.purpose in {"ca-signing", "kek", "audit-sealing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrivateKey:
    """A leaf private key as it is stored: encrypted under its DEK, the DEK under a KEK."""

    id: uuid.UUID
    organization_id: uuid.UUID
    encryption_key_id: uuid.UUID
    algorithm: str
    wrapped_dek: bytes
    ciphertext: bytes
    spki_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What will be signed, exactly, written down before it is (a row of certificate_requests).

    `serial_number` is big-endian without sign; `private_key` is the new key of this revision, None where an
    earlier key is used again (`private_key_id`), the key is in the token (`subject_key_id`), or somebody brought a
    PKCS#10 request for it (`csr`, in DER).
    """

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    generation: int
    spec_hash: bytes
    policy_name: str
    policy_uid: uuid.UUID | None
    policy_generation: int | None
    issuer_key_id: uuid.UUID
    issuer_certificate_id: uuid.UUID | None
    subject_key_id: uuid.UUID | None
    private_key_id: uuid.UUID | None
    private_key: NewPrivateKey | None
    csr: bytes | None
    serial_number: bytes
    tbs: bytes
    signature_algorithm: str
    not_before: datetime
    not_after: datetime
    common_name: str | None
    sans: Sequence[Mapping[str, str]]
    is_ca: bool
    reason: IssueReason
    quota: Quota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRow:
    """A signed certificate as it is recorded; what else the row has is copied from its request.

    `unwanted` says why nobody wants it any more: it is then recorded as revoked, for the partition of the CRL that it
    names.
    """

    id: uuid.UUID
    organization_id: uuid.UUID
    certificate: bytes
    fingerprint_sha256: bytes
    spki_sha256: bytes
    subject: str
    issuer: str
    subject_key_identifier: bytes
    authority_key_identifier: bytes | None
    path_length: int | None
    secret_name: str | None
    renewal_due_at: datetime | None
    unwanted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The newest revision of a Certificate object, as the databases know it."""

    id: uuid.UUID
    owner: Owner
    revision: int
    state: Literal["pending", "issued", "superseded", "failed"]
    certificate_state: Literal["active", "superseded", "revoked"] | None
    spec_hash: bytes
    issuer_key_id: uuid.UUID
    issuer_certificate_id: uuid.UUID | None
    subject_key_id: uuid.UUID | None
    private_key_id: uuid.UUID | None
    key_algorithm: str | None
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCertificate:
    """A recorded certificate with all that publishing it needs."""

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    certificate: bytes
    issuer_key_id: uuid.UUID
    issuer_certificate_id: uuid.UUID | None
    subject_key_id: uuid.UUID | None
    private_key_id: uuid.UUID | None
    policy_name: str
    policy_generation: int | None
    secret_name: str | None
    state: Literal["active", "superseded", "revoked"]
    requested_by: Mapping[str, Any]
    issuer_name: str
    renewal_due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIntent:
    """A pending intent with all that signing it needs."""

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    tbs: bytes
    spec_hash: bytes
    issuer_key_id: uuid.UUID
    issuer_certificate_id: uuid.UUID | None
    issuer_algorithm: KeySpec
    issuer_spki: bytes
    issuer_state: KeyState
    issuer_reason: str | None
