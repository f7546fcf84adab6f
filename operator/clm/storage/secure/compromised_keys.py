"""Keys whose compromise this installation has on record: a certificate of theirs was revoked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clm.storage.database import Database

# keyCompromise and cACompromise (RFC 5280 5.3.1).
_COMPROMISED = """
SELECT EXISTS (
    SELECT FROM certificates c
    JOIN certificate_revocations r ON r.certificate_id = c.id
    WHERE c.spki_sha256 = %(spki_sha256)b AND r.reason_code IN (1, 2))
"""


class CompromisedKeyStore:
    """Looks keys up by the SHA-256 of their SubjectPublicKeyInfo."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def has(self, spki_sha256: bytes) -> bool:
        """Tell whether a certificate with this key was revoked for a compromise. Raises DatabaseUnavailable."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_COMPROMISED, {"spki_sha256": spki_sha256})).fetchone()
            return row is not None and bool(row[0])
