"""The keys that were made to seal the audit logs, as clm_secure_db has them: which of them are trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.resources.seals import KnownKey

if TYPE_CHECKING:
    from clm.storage.database import Database

# A key that went from the token has signed seals all the same.
_KEYS = """
SELECT spki, compromised_at IS NOT NULL FROM encryption_keys
WHERE purpose = 'audit-sealing' AND spki IS NOT NULL ORDER BY version, created_at
"""


async def sealing_keys(secure: Database) -> list[KnownKey]:
    """Every key that ever was made for seals, oldest first. Raises DatabaseUnavailable."""
    async with secure.connection() as connection:
        cursor = await connection.execute(_KEYS)
        return [KnownKey(bytes(row[0]), bool(row[1])) for row in await cursor.fetchall()]
