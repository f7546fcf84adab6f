"""certificate_metadata and audit_log in clm_core_db: the inventory that people search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clm.storage import audit_sql, batch
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.resources.audit import AuditRecord
    from clm.resources.records import Owner
    from clm.storage.database import Database

# Written again, a row changes only where its certificate has ended meanwhile; it never comes back to life.
_INSERT = f"""
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        id uuid, organization_id uuid, cluster_id uuid, resource_uid uuid, namespace text, name text, revision int,
        policy_name text, policy_generation bigint, issuer_name text, issuer_certificate_id uuid, issuer_key_id uuid,
        serial_number bytea, fingerprint bytea, common_name text, sans jsonb, key_algorithm text, usages jsonb,
        is_ca boolean, not_before timestamptz, not_after timestamptz, renewal_time timestamptz, secret_name text,
        status text, requested_by jsonb, {audit_sql.ITEM_COLUMNS})
), written AS (
    INSERT INTO certificate_metadata
        (id, organization_id, cluster_id, resource_uid, namespace, name, revision, policy_name,
         policy_generation, issuer_name, issuer_certificate_id, issuer_key_id, serial_number,
         fingerprint_sha256, common_name, sans, key_algorithm, usages, is_ca, not_before, not_after,
         renewal_time, secret_name, status, requested_by, revoked_at)
    SELECT id, organization_id, cluster_id, resource_uid, namespace, name, revision, policy_name, policy_generation,
           issuer_name, issuer_certificate_id, issuer_key_id, serial_number, fingerprint, common_name, sans,
           key_algorithm, usages, is_ca, not_before, not_after, renewal_time, secret_name, status, requested_by,
           CASE WHEN status = 'revoked' THEN now() END
    FROM item
    ON CONFLICT (id) DO UPDATE SET
        status = excluded.status,
        revoked_at = CASE WHEN excluded.status = 'revoked' THEN coalesce(certificate_metadata.revoked_at, now()) END
    WHERE certificate_metadata.status = 'active' AND excluded.status <> 'active'
       OR certificate_metadata.status <> 'revoked' AND excluded.status = 'revoked'
    RETURNING id
)
INSERT INTO audit_log ({audit_sql.COLUMNS})
SELECT {audit_sql.ITEM_VALUES} FROM item WHERE id IN (SELECT id FROM written)
"""  # noqa: S608 - constants only

# By name too: an object that was created again supersedes what its predecessor had. Certificates count in seconds, so
# two of one second are told apart by when they came here.
_SUPERSEDE_EARLIER = """
UPDATE certificate_metadata earlier
SET status = 'superseded'
FROM certificate_metadata newer
WHERE newer.id = ANY(%(ids)b)
  AND newer.status = 'active'
  AND earlier.id <> newer.id
  AND earlier.cluster_id = newer.cluster_id
  AND earlier.namespace = newer.namespace
  AND earlier.name = newer.name
  AND earlier.status = 'active'
  AND CASE WHEN earlier.resource_uid = newer.resource_uid THEN earlier.revision < newer.revision
           ELSE (earlier.not_before, earlier.created_at) < (newer.not_before, newer.created_at) END
"""

_RESCHEDULE = """
UPDATE certificate_metadata SET renewal_time = %(due)s
WHERE id = %(id)b AND status = 'active' AND renewal_time IS DISTINCT FROM %(due)s
"""

_AUDITS = audit_sql.insert_items("audit_log")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRow:
    """One certificate in the inventory. `id` is that of the certificate in clm_secure_db."""

    id: uuid.UUID
    organization_id: uuid.UUID
    owner: Owner
    revision: int
    policy_name: str
    policy_generation: int | None
    issuer_name: str
    issuer_certificate_id: uuid.UUID | None
    issuer_key_id: uuid.UUID
    serial_number: bytes
    fingerprint_sha256: bytes
    common_name: str | None
    sans: Sequence[Mapping[str, str]]
    key_algorithm: str
    usages: Sequence[str]
    is_ca: bool
    not_before: datetime
    not_after: datetime
    renewal_time: datetime | None
    secret_name: str | None
    status: Literal["active", "superseded", "revoked"]
    requested_by: Mapping[str, Any]


class MetadataStore:
    """Writes the inventory and its audit log, shared by concurrent issuances."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version
        self._rows = Coalescer[tuple[MetadataRow, "AuditRecord"], None](self._write, flushers=1)
        self._audits = Coalescer["AuditRecord", None](self._write_audits, flushers=1, limit=200)

    async def put(self, row: MetadataRow, audit: AuditRecord) -> None:
        """Make the inventory know the certificate. Durable on return; does nothing where it does already."""
        await self._rows.submit((row, audit))

    async def audit(self, record: AuditRecord) -> None:
        """Record an act that has no row of its own, such as a refusal. Durable on return."""
        await self._audits.submit(record)

    async def reschedule(self, certificate_id: uuid.UUID, due_at: datetime | None) -> None:
        """Have the inventory say when an active certificate falls due."""
        async with self._database.connection() as connection:
            await connection.execute(_RESCHEDULE, {"id": certificate_id, "due": due_at})

    async def _write(self, items: Sequence[tuple[MetadataRow, AuditRecord]]) -> Sequence[None]:
        ids = [row.id for row, _ in items]
        rows = [self._parameters(row, audit) for row, audit in items]
        await self._database.together((_INSERT, {"items": batch.items(rows)}), (_SUPERSEDE_EARLIER, {"ids": ids}))
        return [None] * len(items)

    async def _write_audits(self, items: Sequence[AuditRecord]) -> Sequence[None]:
        rows = [audit_sql.parameters(record, origin=self._origin, version=self._version) for record in items]
        async with self._database.connection() as connection:
            await connection.execute(_AUDITS, {"items": batch.items(rows)})
        return [None] * len(items)

    def _parameters(self, row: MetadataRow, audit: AuditRecord) -> dict[str, Any]:
        return {
            "id": row.id,
            "organization_id": row.organization_id,
            "cluster_id": row.owner.cluster_id,
            "resource_uid": row.owner.resource_uid,
            "namespace": row.owner.namespace,
            "name": row.owner.name,
            "revision": row.revision,
            "policy_name": row.policy_name,
            "policy_generation": row.policy_generation,
            "issuer_name": row.issuer_name,
            "issuer_certificate_id": row.issuer_certificate_id,
            "issuer_key_id": row.issuer_key_id,
            "serial_number": row.serial_number,
            "fingerprint": row.fingerprint_sha256,
            "common_name": row.common_name,
            "sans": row.sans,
            "key_algorithm": row.key_algorithm,
            "usages": row.usages,
            "is_ca": row.is_ca,
            "not_before": row.not_before,
            "not_after": row.not_after,
            "renewal_time": row.renewal_time,
            "secret_name": row.secret_name,
            "status": row.status,
            "requested_by": row.requested_by,
            **audit_sql.parameters(audit, origin=self._origin, version=self._version),
        }
