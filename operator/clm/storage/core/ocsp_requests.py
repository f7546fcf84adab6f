"""clm_status.ocsp_responders in clm_core_db: the keys of responder replicas that ask to be certified."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.rows import class_row

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

    from clm.storage.database import Database

# The oldest of every CA come before the second of any: so no CA keeps others waiting, however many ask it.
_WAITING = """
SELECT r.id, r.issuer_key_id, r.csr, r.origin
FROM unnest(%(issuer_keys)b::uuid[]) AS ca (id)
CROSS JOIN LATERAL (
    SELECT id, issuer_key_id, csr, origin, requested_at, row_number() OVER (ORDER BY requested_at) AS place
    FROM clm_status.ocsp_responders
    WHERE issuer_key_id = ca.id AND certificate IS NULL AND refused_reason IS NULL
    ORDER BY requested_at LIMIT %(limit)s) AS r
ORDER BY r.place, r.requested_at
LIMIT %(limit)s
"""

_ANSWER = """
UPDATE clm_status.ocsp_responders SET certificate = %(certificate)b, not_after = %(not_after)s
WHERE id = %(id)b AND certificate IS NULL AND refused_reason IS NULL
"""

_REFUSE = """
UPDATE clm_status.ocsp_responders SET refused_reason = %(reason)s
WHERE id = %(id)b AND certificate IS NULL AND refused_reason IS NULL
"""

# A replica that waits for a day is gone; one that was refused has read why.
_CLEAN = """
DELETE FROM clm_status.ocsp_responders
WHERE not_after < now() - interval '1 hour'
   OR (certificate IS NULL AND requested_at < now() - interval '1 day')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OcspRequest:
    """One key that asks to be certified for one CA. `csr` is a PKCS#10 request in DER."""

    id: uuid.UUID
    issuer_key_id: uuid.UUID
    csr: bytes = field(repr=False)
    origin: str


class OcspRequestStore:
    """Reads requests and writes what came of them. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, issuer_keys: Sequence[uuid.UUID], *, limit: int) -> list[OcspRequest]:
        """Requests to these CAs that nobody has answered, the oldest of each CA first."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(OcspRequest), binary=True) as cursor,
        ):
            await cursor.execute(_WAITING, {"issuer_keys": list(issuer_keys), "limit": limit})
            return await cursor.fetchall()

    async def answer(self, request_id: uuid.UUID, certificate: bytes, not_after: datetime) -> None:
        """Give the replica its certificate."""
        values = {"id": request_id, "certificate": certificate, "not_after": not_after}
        async with self._database.connection() as connection:
            await connection.execute(_ANSWER, values)

    async def refuse(self, request_id: uuid.UUID, reason: str) -> None:
        """Tell the replica why it gets none."""
        async with self._database.connection() as connection:
            await connection.execute(_REFUSE, {"id": request_id, "reason": reason})

    async def clean(self) -> int:
        """Drop what has expired, was refused or is not waited for any more; returns how many rows went."""
        async with self._database.connection() as connection:
            return (await connection.execute(_CLEAN)).rowcount
