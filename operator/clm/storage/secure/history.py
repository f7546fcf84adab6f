"""What clm_secure_db knows of a Certificate object: its newest revision, its pending intent, its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg.rows import dict_row

from clm.resources.keys import KeySpec
from clm.resources.records import Owner, Revision, StoredCertificate, StoredIntent
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from clm.resources.records import IssueReason
    from clm.storage.database import Database

_REVISION = """
r.id, r.cluster_id, r.resource_uid, r.namespace, r.name, r.revision, r.state, c.state AS certificate_state,
r.spec_hash, r.issuer_key_id, r.issuer_certificate_id, r.subject_key_id, r.private_key_id, r.not_before, r.not_after,
(SELECT k.algorithm FROM private_keys k WHERE k.id = r.private_key_id AND k.state = 'active') AS key_algorithm
"""

_NEWEST = f"""
SELECT DISTINCT ON (r.resource_uid) {_REVISION}
FROM certificate_requests r
LEFT JOIN certificates c ON c.request_id = r.id
WHERE r.cluster_id = %(cluster_id)b AND r.resource_uid = ANY(%(uids)b)
ORDER BY r.resource_uid, r.revision DESC
"""  # noqa: S608 - constants only

# A restore or a GitOps re-creation gives the object a new uid; namespace and name are what stayed. LATERAL and LIMIT
# have each name looked up in the index: without statistics the planner would rather read every active certificate.
_NAMESAKE = f"""
SELECT {_REVISION}
FROM unnest(%(namespaces)s::text[], %(names)s::text[]) AS wanted (namespace, name)
CROSS JOIN LATERAL (
    SELECT request_id, state FROM certificates
    WHERE cluster_id = %(cluster_id)b AND namespace = wanted.namespace AND name = wanted.name
      AND state = 'active' AND not_after > now() AND deleted_at IS NULL
    ORDER BY not_before DESC, revision DESC
    LIMIT 1
) AS c
JOIN certificate_requests r ON r.id = c.request_id
"""  # noqa: S608 - constants only

_CERTIFICATE = """
SELECT c.id, c.organization_id, c.cluster_id, c.resource_uid, c.namespace, c.name, c.revision, c.certificate,
       c.issuer_key_id, c.issuer_certificate_id, c.subject_key_id, c.private_key_id, r.policy_name,
       r.policy_generation, c.secret_name, c.state, r.requested_by,
       coalesce(ca.namespace, c.namespace) || '/' || coalesce(ca.name, c.name) AS issuer_name, c.renewal_due_at
FROM certificates c
JOIN certificate_requests r ON r.id = c.request_id
LEFT JOIN certificates ca ON ca.id = c.issuer_certificate_id
WHERE c.id = %(id)b
"""

_INTENT = """
SELECT r.id, r.organization_id, r.cluster_id, r.resource_uid, r.namespace, r.name, r.revision, r.tbs, r.spec_hash,
       r.issuer_key_id, r.issuer_certificate_id, k.algorithm AS issuer_algorithm, k.spki AS issuer_spki,
       k.state AS issuer_state, k.state_reason AS issuer_reason
FROM certificate_requests r
JOIN encryption_keys k ON k.id = r.issuer_key_id
WHERE r.id = %(id)b AND r.state = 'pending'
"""

_PENDING = """
SELECT id, cluster_id, resource_uid, namespace, name
FROM certificate_requests
WHERE cluster_id = %(cluster_id)b AND state = 'pending'
  AND created_at < now() - %(older_than_s)s * interval '1 second' AND id > %(after)b
ORDER BY id
LIMIT %(limit)s
"""


# By the name, which an object never changes: what earlier objects of that name had is the same storm. Renewals by time
# are none, and must not crowd out what is. What counts is the clock that the certificates were made by.
_RECENT = """
SELECT reason, not_before FROM certificate_requests
WHERE cluster_id = %(cluster_id)b AND namespace = %(namespace)s AND name = %(name)s
  AND not_before > %(since)s AND reason <> 'renewal'
ORDER BY not_before DESC LIMIT %(limit)s
"""

_RECENT_LIMIT = 500

_LIVE = "SELECT id FROM certificates WHERE id = ANY(%(ids)b) AND state = 'active'"


class Pending(NamedTuple):
    """An intent that waits to be signed, and whose it is."""

    id: uuid.UUID
    owner: Owner


class PastIssuance(NamedTuple):
    """Why something was issued, and when it begins."""

    reason: IssueReason
    not_before: datetime


class HistoryStore:
    """Reads the revisions of one cluster's objects; concurrent look-ups share one query."""

    def __init__(self, database: Database, *, cluster_id: uuid.UUID) -> None:
        self._database = database
        self._cluster_id = cluster_id
        self._newest = Coalescer[Owner, "Revision | None"](self._read_newest, flushers=1)
        self._live = Coalescer["uuid.UUID", bool](self._read_live, flushers=1)

    async def newest(self, owner: Owner) -> Revision | None:
        """Newest revision of this object; failing that, the live certificate of an earlier object of that name.

        The caller tells the two apart by `owner.resource_uid`.
        """
        return await self._newest.submit(owner)

    async def standing(self, owner: Owner) -> Revision | None:
        """Newest live certificate of that name, also where a newer revision was begun since."""
        parameters = {"cluster_id": self._cluster_id, "namespaces": [owner.namespace], "names": [owner.name]}
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row, binary=True) as cursor,
        ):
            await cursor.execute(_NAMESAKE, parameters)
            row = await cursor.fetchone()
        return _revision(row) if row else None

    async def certificate(self, certificate_id: uuid.UUID) -> StoredCertificate | None:
        """Read a recorded certificate."""
        row = await self._row(_CERTIFICATE, certificate_id)
        return StoredCertificate(owner=_owner(row), **row) if row else None

    async def is_live(self, certificate_id: uuid.UUID) -> bool:
        """Tell whether the certificate stands for its object now: recorded, and neither replaced nor revoked."""
        return await self._live.submit(certificate_id)

    async def recent(self, namespace: str, name: str, *, since: datetime) -> list[PastIssuance]:
        """List what began since then of all objects that had this name, but for renewals by time: the newest 500."""
        parameters = {
            "cluster_id": self._cluster_id,
            "namespace": namespace,
            "name": name,
            "since": since,
            "limit": _RECENT_LIMIT,
        }
        async with self._database.connection() as connection:
            cursor = await connection.execute(_RECENT, parameters)
            return [PastIssuance(*row) for row in await cursor.fetchall()]

    async def intent(self, request_id: uuid.UUID) -> StoredIntent | None:
        """Read a pending intent; None when it is pending no longer."""
        row = await self._row(_INTENT, request_id)
        if row is None:
            return None
        algorithm = KeySpec.parse(row.pop("issuer_algorithm"))
        return StoredIntent(owner=_owner(row), issuer_algorithm=algorithm, **row)

    async def pending(self, *, older_than_s: float, after: uuid.UUID, limit: int) -> list[Pending]:
        """List, in pages by id, this cluster's intents that have waited for longer than a live issuance takes."""
        parameters = {
            "cluster_id": self._cluster_id,
            "older_than_s": older_than_s,
            "after": after,
            "limit": limit,
        }
        async with self._database.connection() as connection:
            cursor = await connection.execute(_PENDING, parameters)
            return [Pending(row[0], Owner(*row[1:])) for row in await cursor.fetchall()]

    async def _row(self, query: str, row_id: uuid.UUID) -> dict[str, Any] | None:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row, binary=True) as cursor,
        ):
            await cursor.execute(query, {"id": row_id})
            return await cursor.fetchone()

    async def _read_live(self, ids: Sequence[uuid.UUID]) -> Sequence[bool]:
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_LIVE, {"ids": list(ids)})
            live = {row[0] for row in await cursor.fetchall()}
        return [certificate_id in live for certificate_id in ids]

    async def _read_newest(self, owners: Sequence[Owner]) -> Sequence[Revision | None]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row, binary=True) as cursor,
        ):
            await cursor.execute(
                _NEWEST, {"cluster_id": self._cluster_id, "uids": [owner.resource_uid for owner in owners]}
            )
            by_uid = {row["resource_uid"]: row for row in await cursor.fetchall()}
            unknown = [owner for owner in owners if owner.resource_uid not in by_uid]
            namesakes: dict[tuple[str, str], dict[str, Any]] = {}
            if unknown:
                await cursor.execute(
                    _NAMESAKE,
                    {
                        "cluster_id": self._cluster_id,
                        "namespaces": [owner.namespace for owner in unknown],
                        "names": [owner.name for owner in unknown],
                    },
                )
                namesakes = {(row["namespace"], row["name"]): row for row in await cursor.fetchall()}
        found = (by_uid.get(owner.resource_uid) or namesakes.get((owner.namespace, owner.name)) for owner in owners)
        return [_revision(row) if row else None for row in found]


def _owner(row: dict[str, Any]) -> Owner:
    return Owner(row.pop("cluster_id"), row.pop("resource_uid"), row.pop("namespace"), row.pop("name"))


def _revision(row: dict[str, Any]) -> Revision:
    copy = dict(row)
    return Revision(owner=_owner(copy), **copy)
