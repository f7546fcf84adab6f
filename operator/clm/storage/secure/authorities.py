"""CA certificates and their chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uuid

    from clm.storage.database import Database

# 10 is far past any real path length, and ends a cycle that a damaged row would make.
_CHAIN = """
WITH RECURSIVE chain AS (
    SELECT id, certificate, subject_key_id, issuer_certificate_id, state, 1 AS depth
    FROM certificates WHERE id = %(id)b
    UNION ALL
    SELECT c.id, c.certificate, c.subject_key_id, c.issuer_certificate_id, c.state, chain.depth + 1
    FROM certificates c JOIN chain ON c.id = chain.issuer_certificate_id
    WHERE chain.depth < 10
)
SELECT chain.id, chain.certificate, chain.state, k.id, k.algorithm
FROM chain LEFT JOIN encryption_keys k ON k.id = chain.subject_key_id
ORDER BY depth
"""


class ChainLink(NamedTuple):
    """One certificate of a chain, leaf side first; the key columns are None where its key is not in the token."""

    id: uuid.UUID
    certificate: bytes
    state: str
    key_id: uuid.UUID | None
    key_algorithm: str | None


class AuthorityStore:
    """Reads CA certificates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def chain(self, certificate_id: uuid.UUID) -> list[ChainLink]:
        """Read a certificate and every issuer above it, up to its root."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_CHAIN, {"id": certificate_id})
            return [ChainLink(*row) for row in await cursor.fetchall()]
