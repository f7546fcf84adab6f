"""Stored leaf private keys, still wrapped: only the HSM room can open them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid

    from clm.storage.database import Database

_READ = """
SELECT id, organization_id, encryption_key_id, wrapped_dek, ciphertext
FROM private_keys WHERE id = %(id)b AND state <> 'destroyed'
"""


@dataclass(frozen=True, slots=True)
class WrappedPrivateKey:
    """One row of private_keys."""

    id: uuid.UUID
    organization_id: uuid.UUID
    encryption_key_id: uuid.UUID
    wrapped_dek: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class PrivateKeyStore:
    """Reads wrapped private keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key_id: uuid.UUID) -> WrappedPrivateKey | None:
        """Read one wrapped key; None when there is none or it was destroyed."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_READ, {"id": key_id})
            row = await cursor.fetchone()
            return WrappedPrivateKey(*row) if row else None
