"""The row of the inventory, and its audit record, for a certificate: the same whoever writes it first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clm.resources.audit import AuditRecord
from clm.storage.core.metadata import MetadataRow

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping
    from datetime import datetime

    from clm.pki.chain import CertificateFacts
    from clm.resources.records import Owner, StoredCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the inventory says of a certificate beyond what is in the certificate itself."""

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    policy_name: str
    policy_generation: int | None
    issuer_name: str
    issuer_certificate_id: uuid.UUID | None
    issuer_key_id: uuid.UUID
    renewal_time: datetime | None
    secret_name: str | None
    status: Literal["active", "superseded", "revoked"]
    requested_by: Mapping[str, Any]


def inventory_entry(listed: Listed, facts: CertificateFacts) -> tuple[MetadataRow, AuditRecord]:
    """Make the row and its audit record."""
    row = MetadataRow(
        id=listed.id,
        organization_id=listed.organization_id,
        owner=listed.owner,
        revision=listed.revision,
        policy_name=listed.policy_name,
        policy_generation=listed.policy_generation,
        issuer_name=listed.issuer_name,
        issuer_certificate_id=listed.issuer_certificate_id,
        issuer_key_id=listed.issuer_key_id,
        serial_number=facts.serial_number,
        fingerprint_sha256=facts.fingerprint_sha256,
        common_name=facts.common_name,
        sans=facts.sans,
        key_algorithm=facts.key_algorithm,
        usages=facts.usages,
        is_ca=facts.is_ca,
        not_before=facts.not_before,
        not_after=facts.not_after,
        renewal_time=listed.renewal_time,
        secret_name=listed.secret_name,
        status=listed.status,
        requested_by=listed.requested_by,
    )
    audit = AuditRecord(
        organization_id=listed.organization_id,
        action="certificate.publish",
        object_type="certificate",
        object_id=str(listed.id),
        details={
            "object": f"{listed.owner.namespace}/{listed.owner.name}",
            "revision": listed.revision,
            "status": listed.status,
            "policy": listed.policy_name,
            "issuer": listed.issuer_name,
            "serial": facts.serial_number.hex(),
            "notAfter": facts.not_after.isoformat(),
        },
    )
    return row, audit


def listed_as_recorded(recorded: StoredCertificate) -> Listed:
    """Say of a certificate what clm_secure_db has on record of it."""
    return Listed(
        id=recorded.id,
        organization_id=recorded.organization_id,
        owner=recorded.owner,
        revision=recorded.revision,
        policy_name=recorded.policy_name,
        policy_generation=recorded.policy_generation,
        issuer_name=recorded.issuer_name,
        issuer_certificate_id=recorded.issuer_certificate_id,
        issuer_key_id=recorded.issuer_key_id,
        renewal_time=recorded.renewal_due_at,
        secret_name=recorded.secret_name,
        status=recorded.state,
        requested_by=recorded.requested_by,
    )
