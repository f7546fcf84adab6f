"""CA certificates and their chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime

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


# The newest certificate that stands for a CA's key and name: what a renewed CA signed before its renewal verifies with
# it as well, and for longer.
_NEWEST = """
SELECT n.id, n.certificate, n.subject_key_id, n.issuer_certificate_id, n.state
FROM certificates n
WHERE n.id = signer.id
   OR (n.subject_key_id = signer.subject_key_id AND n.subject = signer.subject AND n.state = 'active')
ORDER BY n.state = 'active' DESC, n.not_after DESC, n.created_at DESC
LIMIT 1
"""

_NEWEST_CHAIN = f"""
WITH RECURSIVE chain AS (
    SELECT newest.*, 1 AS depth
    FROM certificates signer
    CROSS JOIN LATERAL ({_NEWEST}) newest
    WHERE signer.id = %(id)b
    UNION ALL
    SELECT newest.*, chain.depth + 1
    FROM chain
    JOIN certificates signer ON signer.id = chain.issuer_certificate_id
    CROSS JOIN LATERAL ({_NEWEST}) newest
    WHERE chain.depth < 10
)
SELECT chain.id, chain.certificate, chain.state, k.id, k.algorithm
FROM chain LEFT JOIN encryption_keys k ON k.id = chain.subject_key_id
ORDER BY depth
"""  # noqa: S608 - constants only


# By key, so that of each CA above every certificate counts that still verifies what the one below has signed.
_ROOTS = """
WITH RECURSIVE above AS (
    SELECT c.id, c.subject_key_id, c.issuer_key_id, 1 AS depth
    FROM certificates c
    WHERE c.cluster_id = %(cluster_id)b AND c.namespace = %(namespace)s AND c.name = %(name)s
      AND c.is_ca AND c.subject_key_id IS NOT NULL AND c.state <> 'revoked' AND c.not_after > %(now)s
    UNION
    SELECT c.id, c.subject_key_id, c.issuer_key_id, above.depth + 1
    FROM above
    JOIN certificates c ON c.subject_key_id = above.issuer_key_id
    WHERE above.issuer_key_id <> above.subject_key_id AND above.depth < 10
      AND c.state <> 'revoked' AND c.not_after > %(now)s
)
SELECT certificate FROM certificates
WHERE id IN (SELECT id FROM above WHERE issuer_key_id = subject_key_id)
"""


_STANDING = """
SELECT c.id, c.not_before, c.not_after, k.id, k.spki, k.state, k.state_reason
FROM certificates c
JOIN encryption_keys k ON k.id = c.subject_key_id
WHERE c.id = ANY(%(ids)b) AND k.spki IS NOT NULL
"""


class StandingAuthority(NamedTuple):
    """The certificate of a CA as it stands, and its key in the token."""

    id: uuid.UUID
    not_before: datetime
    not_after: datetime
    key_id: uuid.UUID
    spki: bytes
    key_state: str
    key_state_reason: str | None


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
        return await self._read(_CHAIN, certificate_id)

    async def newest_chain(self, certificate_id: uuid.UUID) -> list[ChainLink]:
        """Read the newest certificate of a CA's key and name, given any of them, and so on up to its root."""
        return await self._read(_NEWEST_CHAIN, certificate_id)

    async def roots(self, cluster_id: uuid.UUID, namespace: str, name: str, *, now: datetime) -> list[bytes]:
        """Read the self-signed certificates, in DER, that the unexpired ones of a CA's Certificate chain to.

        All that are unexpired themselves and not revoked: of a root that was renewed the former ones as well, and those
        above former certificates of the CA.
        """
        parameters = {"cluster_id": cluster_id, "namespace": namespace, "name": name, "now": now}
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_ROOTS, parameters)
            return [row[0] for row in await cursor.fetchall()]

    async def standing(self, certificate_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, StandingAuthority]:
        """Read the certificates of CAs whose keys are in the token, by their ids."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_STANDING, {"ids": list(certificate_ids)})
            return {row[0]: StandingAuthority(*row) for row in await cursor.fetchall()}

    async def _read(self, statement: str, certificate_id: uuid.UUID) -> list[ChainLink]:
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(statement, {"id": certificate_id})
            return [ChainLink(*row) for row in await cursor.fetchall()]
