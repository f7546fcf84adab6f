"""Revocations in clm_secure_db: what can be revoked, and the record that it was. It comes before any announcement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from clm.resources.records import Owner
from clm.resources.revocation import Recorded, Revocable, reason_name
from clm.storage.coalescer import Coalescer
from clm.storage.secure.revocation_record import recording

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from clm.resources.revocation import Revocation
    from clm.storage.database import Database

_REVOCABLE = """
SELECT c.id, c.organization_id, c.cluster_id, c.resource_uid, c.namespace, c.name, c.revision, c.serial_number,
       c.issuer_key_id, c.issuer,
       coalesce(ca.namespace, c.namespace) || '/' || coalesce(ca.name, c.name) AS issuer_name, c.subject,
       c.private_key_id, c.subject_key_id, c.not_after, c.state, r.reason_code, r.revoked_at
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
        self._audit = {"origin": origin, "version": version}
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
        statements = recording(certificates, revocation, patience_s=patience_s, audit=self._audit)
        *_, recorded = await self._database.together(*statements, (_RECORDED, {"ids": ids}))
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
