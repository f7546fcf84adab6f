"""Revocations in clm_secure_db: what can be revoked, and the record that it was. It comes before any announcement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from clm.pki.distribution import crl_partition
from clm.resources.audit import AuditRecord
from clm.resources.records import Owner
from clm.resources.revocation import COMPROMISES, REASON_CODES, Recorded, Revocable, reason_name
from clm.storage import audit_sql, batch
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from clm.resources.revocation import Revocation
    from clm.storage.database import Database

_REVOCABLE = """
SELECT c.id, c.organization_id, c.cluster_id, c.resource_uid, c.namespace, c.name, c.revision, c.serial_number,
       c.issuer_key_id, c.issuer,
       coalesce(ca.namespace, c.namespace) || '/' || coalesce(ca.name, c.name) AS issuer_name, c.subject,
       c.certificate, c.private_key_id, c.subject_key_id, c.not_after, c.state, r.reason_code, r.revoked_at
FROM certificates c
LEFT JOIN certificates ca ON ca.id = c.issuer_certificate_id
LEFT JOIN certificate_revocations r ON r.certificate_id = c.id
"""

_OF_NAME = f"""
{_REVOCABLE}
WHERE c.cluster_id = %(cluster_id)b AND c.namespace = %(namespace)s AND c.name = %(name)s AND c.not_after > now()
ORDER BY c.not_before, c.revision
"""

_OF_IDS = f"{_REVOCABLE} WHERE c.id = ANY(%(ids)b) ORDER BY c.id"
_OF_FINGERPRINTS = f"{_REVOCABLE} WHERE c.fingerprint_sha256 = ANY(%(fingerprints)b) ORDER BY c.id"

# By issuer, as the index is.
_OF_SERIALS = f"""
{_REVOCABLE}
WHERE c.id IN (
    SELECT one.id FROM encryption_keys k
    CROSS JOIN LATERAL (
        SELECT id FROM certificates WHERE issuer_key_id = k.id AND serial_number = ANY(%(serials)b)) AS one
    WHERE k.purpose = 'ca-signing')
ORDER BY c.id
"""  # noqa: S608 - constants only

_OF_KEYS = f"""
{_REVOCABLE}
WHERE (c.private_key_id = ANY(%(keys)b) OR c.subject_key_id = ANY(%(keys)b)) AND c.not_after > now()
ORDER BY c.id
"""

# In an order, so that two that revoke the same wait for each other. What comes after sees what the other has done.
_LOCK = "SELECT id FROM certificates WHERE id = ANY(%(ids)b) ORDER BY id FOR UPDATE"

_RECORD = f"""
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        certificate_id uuid, reason_code int, invalidity_date timestamptz, requested_by jsonb, comment text,
        crl_shards int, crl_shard int, {audit_sql.ITEM_COLUMNS})
), fresh AS (
    INSERT INTO certificate_revocations
        (id, organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at, invalidity_date,
         requested_by, comment, crl_shards, crl_shard)
    SELECT gen_random_uuid(), c.organization_id, c.id, c.issuer_key_id, c.serial_number, i.reason_code,
           date_trunc('second', now()), i.invalidity_date, i.requested_by, i.comment, i.crl_shards, i.crl_shard
    FROM item i JOIN certificates c ON c.id = i.certificate_id
    WHERE c.id = ANY(%(ids)b) AND c.issuer_key_id IS DISTINCT FROM c.subject_key_id
    ON CONFLICT DO NOTHING
    RETURNING certificate_id
), worse AS (
    UPDATE certificate_revocations r
    SET reason_code = i.reason_code, invalidity_date = coalesce(i.invalidity_date, r.invalidity_date),
        published_at = NULL
    FROM item i
    WHERE r.certificate_id = i.certificate_id AND r.certificate_id = ANY(%(ids)b)
      AND i.reason_code IN (1, 2) AND r.reason_code NOT IN (1, 2)
    RETURNING r.certificate_id
), said AS (
    SELECT certificate_id FROM fresh UNION ALL SELECT certificate_id FROM worse
), ended AS (
    UPDATE certificates c SET state = 'revoked' FROM fresh WHERE c.id = fresh.certificate_id AND c.id = ANY(%(ids)b)
), work AS (
    INSERT INTO clm_work.outbox (id, organization_id, next_attempt_at)
    SELECT c.id, c.organization_id, now() + %(patience_s)s * interval '1 second'
    FROM said JOIN certificates c ON c.id = said.certificate_id WHERE c.id = ANY(%(ids)b)
    ON CONFLICT (id) DO UPDATE SET next_attempt_at = excluded.next_attempt_at, attempts = 0
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
SELECT {audit_sql.ITEM_VALUES} FROM item WHERE certificate_id IN (SELECT certificate_id FROM said)
"""  # noqa: S608 - constants only

# A key whose certificate is revoked is used for no other one, whatever rotationPolicy says; unless it has a certificate
# that stands.
_RETIRE_KEYS = """
UPDATE private_keys k SET state = 'superseded'
FROM certificates c
WHERE c.id = ANY(%(ids)b) AND k.id = c.private_key_id AND k.state = 'active'
  AND NOT EXISTS (SELECT FROM certificates o WHERE o.private_key_id = k.id AND o.state = 'active')
"""

_COMPROMISE_KEYS = f"""
WITH lost AS (
    UPDATE private_keys k
    SET state = 'compromised', compromised_at = coalesce(k.compromised_at, now())
    FROM certificates c
    WHERE c.id = ANY(%(ids)b) AND k.id = c.private_key_id AND k.state IN ('active', 'superseded')
      AND c.state = 'revoked'
    RETURNING k.id, k.organization_id, k.spki_sha256
), lost_in_token AS (
    UPDATE encryption_keys k
    SET state = 'compromised', state_reason = %(why)s, compromised_at = now()
    FROM certificates c
    WHERE c.id = ANY(%(ids)b) AND k.id = c.subject_key_id AND k.state IN ('active', 'suspended', 'deactivated')
      AND c.state = 'revoked'
    RETURNING k.id, k.organization_id, k.spki_sha256
), failed AS (
    UPDATE certificate_requests SET state = 'failed', failure_reason = %(why)s
    WHERE issuer_key_id IN (SELECT id FROM lost_in_token) AND state = 'pending'
), every AS (
    SELECT id, organization_id, spki_sha256, 'private-key' AS type FROM lost
    UNION ALL SELECT id, organization_id, spki_sha256, 'key' FROM lost_in_token
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
SELECT organization_id, %(actor_type)s, %(actor_id)s, 'key.compromise', type, id::text, 'success', %(why)s, %(origin)s,
       %(version)s, jsonb_build_object('spkiSha256', encode(spki_sha256, 'hex')),
       convert_to('{{"spkiSha256":"' || encode(spki_sha256, 'hex') || '"}}', 'UTF8')
FROM every
"""  # noqa: S608 - constants only

_RECORDED = """
SELECT r.certificate_id, r.organization_id, r.issuer_key_id, r.serial_number, r.reason_code, r.revoked_at,
       r.invalidity_date, c.not_after, c.subject_key_id IS NOT NULL
FROM certificate_revocations r JOIN certificates c ON c.id = r.certificate_id
WHERE r.certificate_id = ANY(%(ids)b)
"""

_PUBLISHED = """
SELECT count(*) FILTER (WHERE published_at IS NULL) FROM certificate_revocations WHERE certificate_id = ANY(%(ids)b)
"""


class RevocationStore:
    """Finds certificates to revoke and records that they are."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version
        self._recorded = Coalescer["uuid.UUID", "Recorded | None"](self._read_recorded, flushers=1, limit=500)

    async def of_object(self, owner: Owner) -> list[Revocable]:
        """Unexpired certificates that were issued under this namespace and name, oldest first.

        Also those of earlier objects of that name: their certificates and keys are the same Secret's, and one of them
        may have been adopted.
        """
        return await self._find(_OF_NAME, cluster_id=owner.cluster_id, namespace=owner.namespace, name=owner.name)

    async def of_ids(self, ids: Collection[uuid.UUID]) -> list[Revocable]:
        """Certificates of these ids."""
        return await self._find(_OF_IDS, ids=list(ids))

    async def of_fingerprints(self, fingerprints: Collection[bytes]) -> list[Revocable]:
        """Certificates whose DER has one of these SHA-256 digests."""
        return await self._find(_OF_FINGERPRINTS, fingerprints=list(fingerprints))

    async def of_serials(self, serials: Collection[bytes]) -> list[Revocable]:
        """Certificates of these serial numbers (as `serial_to_bytes` writes them), of whatever issuer."""
        return await self._find(_OF_SERIALS, serials=list(serials))

    async def of_keys(self, keys: Collection[uuid.UUID]) -> list[Revocable]:
        """Unexpired certificates of these keys, stored or in the HSM."""
        return await self._find(_OF_KEYS, keys=list(keys))

    async def record(
        self, certificates: Sequence[Revocable], revocation: Revocation, *, patience_s: float
    ) -> list[Recorded]:
        """Record that certificates are revoked, in one transaction; gives what stands on record of them then.

        A certificate is revoked once: one that was before keeps its time and reason, but for a compromise that was not
        known then. Self-signed ones are left out. The outbox has each of them until it is announced; the relay sees to
        that after `patience_s` seconds. Raises DatabaseUnavailable.
        """
        ids = [certificate.id for certificate in certificates]
        rows = [self._row(certificate, revocation) for certificate in certificates]
        statements: list[tuple[str, dict[str, Any]]] = [
            (_LOCK, {"ids": ids}),
            (_RECORD, {"items": batch.items(rows), "ids": ids, "patience_s": patience_s}),
        ]
        if revocation.reason in COMPROMISES:
            statements.append((_COMPROMISE_KEYS, self._compromise(ids, revocation)))
        statements += [(_RETIRE_KEYS, {"ids": ids}), (_RECORDED, {"ids": ids})]
        *_, recorded = await self._database.together(*statements)
        return [_recorded(row) for row in recorded]

    async def recorded(self, certificate_id: uuid.UUID) -> Recorded | None:
        """The revocation of a certificate; None while there is none."""
        return await self._recorded.submit(certificate_id)

    async def recorded_of(self, ids: Collection[uuid.UUID]) -> list[Recorded]:
        """Revocations of these certificates, as far as there are any."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_RECORDED, {"ids": list(ids)})
            return [_recorded(row) for row in await cursor.fetchall()]

    async def unpublished(self, ids: Collection[uuid.UUID]) -> int:
        """How many of these revocations no CRL has yet."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_PUBLISHED, {"ids": list(ids)})).fetchone()
            return int(row[0]) if row else 0

    async def _find(self, query: str, **parameters: object) -> list[Revocable]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row, binary=True) as cursor,
        ):
            await cursor.execute(query.encode(), parameters)
            return [_revocable(row) for row in await cursor.fetchall()]

    async def _read_recorded(self, ids: Sequence[uuid.UUID]) -> Sequence[Recorded | None]:
        found = {one.certificate_id: one for one in await self.recorded_of(ids)}
        return [found.get(certificate_id) for certificate_id in ids]

    def _row(self, certificate: Revocable, revocation: Revocation) -> dict[str, Any]:
        shards, shard = crl_partition(certificate.certificate)
        audit = revocation_audit(certificate, revocation)
        return {
            "certificate_id": certificate.id,
            "reason_code": REASON_CODES[revocation.reason],
            "invalidity_date": revocation.invalidity_date,
            "requested_by": _asked_by(revocation.actor_id),
            "comment": revocation.comment,
            "crl_shards": shards,
            "crl_shard": shard,
            **audit_sql.parameters(audit, origin=self._origin, version=self._version),
        }

    def _compromise(self, ids: Sequence[uuid.UUID], revocation: Revocation) -> dict[str, Any]:
        return {
            "ids": list(ids),
            "why": f"its certificate was revoked for {revocation.reason}",
            "actor_type": revocation.actor_type,
            "actor_id": revocation.actor_id,
            "origin": self._origin,
            "version": self._version,
        }


def revocation_audit(certificate: Revocable, revocation: Revocation) -> AuditRecord:
    """Audit record of one revocation."""
    former = {"formerReason": certificate.reason} if certificate.reason is not None else {}
    return AuditRecord(
        organization_id=certificate.organization_id,
        action="certificate.revoke",
        object_type="certificate",
        object_id=str(certificate.id),
        actor_type=revocation.actor_type,
        actor_id=revocation.actor_id,
        reason=revocation.reason,
        details={
            "object": f"{certificate.owner.namespace}/{certificate.owner.name}",
            "revision": certificate.revision,
            "issuer": certificate.issuer_name,
            "issuerKey": str(certificate.issuer_key_id),
            "serial": certificate.serial_number.hex(),
            **former,
            **revocation.details,
        },
    )


def _asked_by(actor_id: str) -> dict[str, str]:
    """Name a person so that the erasure of their data finds it (see `storage.secure.subjects`)."""
    kind, _, pseudonym = actor_id.partition(":")
    return {"user": {"subject": pseudonym}, "account": {"account": pseudonym}}.get(kind, {})


def _revocable(row: dict[str, Any]) -> Revocable:
    owner = Owner(row.pop("cluster_id"), row.pop("resource_uid"), row.pop("namespace"), row.pop("name"))
    code = row.pop("reason_code")
    return Revocable(owner=owner, reason=reason_name(code) if code is not None else None, **row)


def _recorded(row: Sequence[Any]) -> Recorded:
    return Recorded(
        certificate_id=row[0],
        organization_id=row[1],
        issuer_key_id=row[2],
        serial_number=row[3],
        reason=reason_name(row[4]),
        revoked_at=row[5],
        invalidity_date=row[6],
        not_after=row[7],
        is_authority=row[8],
    )
