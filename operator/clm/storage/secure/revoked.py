"""What CRLs are made of: the revocations of each CA in clm_secure_db, which is authoritative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.resources.records import KeyState
    from clm.storage.database import Database

PAGE = 5000
"""Rows that are read at once: some milliseconds of the event loop."""

# Another cluster may share the databases: its CAs are in its token, and its own controller publishes for them.
_KEYS = """
SELECT k.id, k.organization_id, k.algorithm, k.state, k.state_reason, c.id AS certificate_id
FROM encryption_keys k
LEFT JOIN LATERAL (
    SELECT id FROM certificates WHERE subject_key_id = k.id ORDER BY not_before DESC, created_at DESC LIMIT 1
) AS c ON true
WHERE k.id = ANY(%(ids)b) AND k.cluster_id = %(cluster_id)b AND k.purpose = 'ca-signing'
"""

_WAITING = """
SELECT wanted.id FROM unnest(%(ids)b::uuid[]) AS wanted (id)
WHERE EXISTS (SELECT FROM certificate_revocations r WHERE r.issuer_key_id = wanted.id AND r.published_at IS NULL)
"""

_COLUMNS = """
r.id, r.serial_number, r.reason_code, r.revoked_at, r.invalidity_date, c.not_after, r.created_at
"""

# The limit counts what is given, so that only the last page is a short one.
_PAGE = f"""
SELECT {_COLUMNS}
FROM certificate_revocations r JOIN certificates c ON c.id = r.certificate_id
WHERE r.issuer_key_id = %(issuer_key_id)b AND r.serial_number > %(after)b
  AND c.not_after >= coalesce(%(since)s::timestamptz, '-infinity')
ORDER BY r.serial_number
LIMIT {PAGE}
"""  # noqa: S608 - constants only

_UNPUBLISHED = f"""
SELECT {_COLUMNS}
FROM (
    SELECT id, serial_number, reason_code, revoked_at, invalidity_date, created_at, certificate_id
    FROM certificate_revocations
    WHERE issuer_key_id = %(issuer_key_id)b AND published_at IS NULL AND id > %(after)b
    ORDER BY id
    LIMIT {PAGE}
) AS r
JOIN certificates c ON c.id = r.certificate_id
ORDER BY r.id
"""  # noqa: S608 - constants only

# After a restore of clm_core_db alone a CRL may stand there that is older than one that listed a revocation.
_BEHIND = """
SELECT standing.id FROM unnest(%(ids)b::uuid[], %(moments)s::timestamptz[]) AS standing (id, this_update)
WHERE EXISTS (
    SELECT FROM certificate_revocations r
    WHERE r.issuer_key_id = standing.id AND r.published_at > standing.this_update)
"""

_COUNTS = """
SELECT r.issuer_key_id, count(*)
FROM certificate_revocations r JOIN certificates c ON c.id = r.certificate_id
WHERE r.issuer_key_id = ANY(%(ids)b) AND c.not_after > now()
GROUP BY r.issuer_key_id
"""

_ANNOUNCE_AGAIN = """
INSERT INTO clm_work.outbox (id, organization_id, next_attempt_at)
SELECT certificate_id, organization_id, now() FROM certificate_revocations WHERE id = ANY(%(ids)b)
ON CONFLICT (id) DO NOTHING
"""

# What was given another reason since it was read is not published yet.
_MARK = """
UPDATE certificate_revocations r SET published_at = %(published_at)s
FROM unnest(%(ids)b::uuid[], %(reasons)b::int[]) AS listed (id, reason_code)
WHERE r.id = listed.id AND r.reason_code = listed.reason_code AND r.published_at IS NULL
"""

# By the index of the ends of validity, from the far end: what names a CRL of the CA is among the first. Its own
# certificate, where it signed that itself, names none.
_LAST_EXPIRY = """
SELECT max(not_after) FROM (
    (SELECT not_after FROM certificates
     WHERE organization_id = %(organization_id)b AND issuer_key_id = %(issuer_key_id)b
       AND subject_key_id IS DISTINCT FROM issuer_key_id
     ORDER BY not_after DESC LIMIT 1)
    UNION ALL
    (SELECT max(not_after) FROM certificate_requests
     WHERE state = 'pending' AND issuer_key_id = %(issuer_key_id)b)
) AS named
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """The key of a CA of this cluster, and the newest certificate of it."""

    id: uuid.UUID
    organization_id: uuid.UUID
    algorithm: str
    state: KeyState
    state_reason: str | None
    certificate_id: uuid.UUID | None


class RevokedRow(NamedTuple):
    """One revocation as a CRL needs it. `not_after` is the certificate's, `recorded_at` when it was written down."""

    id: uuid.UUID
    serial_number: bytes
    reason_code: int
    revoked_at: datetime
    invalidity_date: datetime | None
    not_after: datetime
    recorded_at: datetime


class RevokedStore:
    """Reads revocations page by page, and marks those that are published. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, *, cluster_id: uuid.UUID) -> None:
        self._database = database
        self._cluster_id = cluster_id

    async def keys(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, SigningKey]:
        """Those of these keys that are this cluster's."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(SigningKey), binary=True) as cursor,
        ):
            await cursor.execute(_KEYS, {"ids": list(ids), "cluster_id": self._cluster_id})
            return {key.id: key for key in await cursor.fetchall()}

    async def waiting(self, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Those of these CAs of which a revocation waits to be published."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_WAITING, {"ids": list(ids)})
            return {row[0] for row in await cursor.fetchall()}

    async def page(self, issuer_key_id: uuid.UUID, *, after: bytes, since: datetime | None) -> list[RevokedRow]:
        """Revocations of one CA in order of their serial numbers, those above one of them.

        Without those of certificates that expired before `since`.
        """
        return await self._rows(_PAGE, {"issuer_key_id": issuer_key_id, "after": after, "since": since})

    async def counts(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
        """How many unexpired certificates of each of these CAs are revoked; a CA without any is left out."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_COUNTS, {"ids": list(ids)})
            return dict(await cursor.fetchall())

    async def announce_again(self, rows: Sequence[RevokedRow]) -> int:
        """Have the relay announce these revocations once more, in one commit; returns how many it would not have."""
        async with self._database.connection() as connection:
            return (await connection.execute(_ANNOUNCE_AGAIN, {"ids": [row.id for row in rows]})).rowcount

    async def unpublished(self, issuer_key_id: uuid.UUID, *, after: uuid.UUID) -> list[RevokedRow]:
        """Revocations of one CA that wait to be published, in order of their ids, those above one of them."""
        return await self._rows(_UNPUBLISHED, {"issuer_key_id": issuer_key_id, "after": after})

    async def behind(self, standing: Mapping[uuid.UUID, datetime]) -> set[uuid.UUID]:
        """Those of these CAs whose CRL, of the thisUpdate given, is older than one that listed a revocation.

        Reads every revocation of these CAs.
        """
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_BEHIND, {"ids": list(standing), "moments": list(standing.values())})
            return {row[0] for row in await cursor.fetchall()}

    async def mark(self, rows: Sequence[RevokedRow], *, published_at: datetime) -> None:
        """Note that these revocations, as they were read, are listed by CRLs of this thisUpdate or later.

        Each page of them in a commit of its own.
        """
        for at in range(0, len(rows), PAGE):
            some = rows[at : at + PAGE]
            values = {
                "ids": [row.id for row in some],
                "reasons": [row.reason_code for row in some],
                "published_at": published_at,
            }
            async with self._database.connection() as connection:
                await connection.execute(_MARK, values)

    async def last_expiry(self, issuer_key_id: uuid.UUID, organization_id: uuid.UUID) -> datetime | None:
        """When the last certificate expires that a CA has issued; None where it has issued none."""
        values = {"issuer_key_id": issuer_key_id, "organization_id": organization_id}
        async with self._database.connection() as connection:
            row = await (await connection.execute(_LAST_EXPIRY, values)).fetchone()
            return row[0] if row is not None else None

    async def _rows(self, query: str, values: dict[str, object]) -> list[RevokedRow]:
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query.encode(), values)
            return [RevokedRow(*row) for row in await cursor.fetchall()]
