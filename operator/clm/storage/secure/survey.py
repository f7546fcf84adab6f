"""Reads clm_secure_db whole, page by page, for the comparison of the three worlds."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clm.storage.database import Database

PAGE = 1000

# A UUID is compared as a number: the nil UUID comes before every other.
_CERTIFICATES = """
SELECT id, resource_uid, namespace, name, revision, state, private_key_id, certificate
FROM certificates WHERE deleted_at IS NULL AND id > %(after)b ORDER BY id LIMIT %(limit)s
"""

_PENDING = """
SELECT id, namespace, name, revision FROM certificate_requests
WHERE state = 'pending' AND created_at < now() - interval '60 seconds' ORDER BY created_at
"""

_UNRECORDED = """
SELECT r.id, r.namespace, r.name, r.revision
FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id
WHERE r.state IN ('issued', 'superseded') AND c.id IS NULL
"""

_REPUBLISH = """
WITH again AS (
    INSERT INTO clm_work.outbox (id, organization_id)
    SELECT id, organization_id FROM certificates WHERE id = ANY(%(ids)b)
    ON CONFLICT (id) DO UPDATE SET next_attempt_at = now(), attempts = 0
    RETURNING id, organization_id
)
INSERT INTO secure_audit_log (organization_id, actor_type, actor_id, action, object_type, object_id, outcome, reason)
SELECT organization_id, 'operator', 'clm-check', 'integrity.repair', 'certificate', id::text, 'success',
       'published again'
FROM again
"""

_OUTBOX = "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM clm_work.outbox"


class SurveyedCertificate(NamedTuple):
    """One recorded certificate."""

    id: uuid.UUID
    resource_uid: uuid.UUID
    namespace: str
    name: str
    revision: int
    state: str
    private_key_id: uuid.UUID | None
    certificate: bytes


class UnfinishedRequest(NamedTuple):
    """A request that has no certificate where it should have one."""

    id: uuid.UUID
    namespace: str
    name: str
    revision: int


class SecureSurvey:
    """Whole-database reads, and the one write that repairs: putting certificates back into the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def certificates(self) -> AsyncIterator[list[SurveyedCertificate]]:
        """Iterate over every certificate, a page at a time."""
        after = uuid.UUID(int=0)
        while True:
            async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
                await cursor.execute(_CERTIFICATES, {"after": after, "limit": PAGE})
                page = [SurveyedCertificate(*row) for row in await cursor.fetchall()]
            if not page:
                return
            yield page
            after = page[-1].id

    async def pending(self) -> list[UnfinishedRequest]:
        """Intents that have waited for more than a minute."""
        return await self._requests(_PENDING)

    async def unrecorded(self) -> list[UnfinishedRequest]:
        """Requests that count as issued and have no certificate: what must never be."""
        return await self._requests(_UNRECORDED)

    async def outbox(self) -> tuple[int, float]:
        """How many certificates wait to be published, and for how many seconds the oldest has."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_OUTBOX)
            row = await cursor.fetchone()
            assert row is not None  # noqa: S101 - an aggregate always has a row
            return int(row[0]), float(row[1])

    async def republish(self, ids: list[uuid.UUID]) -> None:
        """Have the controller publish these certificates again: inventory, Secret and status."""
        async with self._database.connection() as connection:
            await connection.execute(_REPUBLISH, {"ids": ids})

    async def _requests(self, query: str) -> list[UnfinishedRequest]:
        async with self._database.connection() as connection:
            cursor = await connection.execute(query.encode())
            return [UnfinishedRequest(*row) for row in await cursor.fetchall()]
