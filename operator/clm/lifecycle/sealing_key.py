"""The key that seals the audit logs of both databases."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from clm.audit.signer import SEALING_KEY, TokenSigner
from clm.errors import KeyMissing
from clm.resources.records import HsmKeyRow
from clm.settings import NAMESPACE, SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from clm.hsm.token import Token
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.storage.secure.keys import KeyStore


class SealingKey:
    """Finds the current sealing key, and makes the first one."""

    def __init__(self, *, token: Token, keys: HsmKeys, store: KeyStore) -> None:
        self._token = token
        self._keys = keys
        self._store = store
        self._verified: HsmKeyRow | None = None

    async def signer(self) -> TokenSigner:
        """Give the newest active key; make one where none stands, the first or the one after a key that has ended.

        Its row is read each time, for it may have been replaced; that the token holds it is proven once. Raises
        KeyMissing, KeyMismatch, HsmError, and an Unavailable.
        """
        rows = await self._store.of_purpose("audit-sealing", SYSTEM_ORGANIZATION)
        row = next((row for row in rows if row.state == "active"), None)
        if row is None:
            row = await self._make(rows[0].version if rows else await self._next_version())
        if self._verified is None or self._verified.id != row.id:
            await self._keys.verify(row)
            self._verified = row
        if row.spki is None:
            raise KeyMissing(f"key {row.id} has no public key on record")
        return TokenSigner(self._token, row.id, row.spki)

    async def _next_version(self) -> int:
        ended = [row.version for row in await self._store.all_rows() if row.purpose == "audit-sealing"]
        return max(ended, default=0) + 1

    async def _make(self, version: int) -> HsmKeyRow:
        return await self._keys.ensure(
            HsmKeyRow(
                id=uuid.uuid5(NAMESPACE, f"audit-sealing/{SYSTEM_ORGANIZATION}/{version}"),
                organization_id=SYSTEM_ORGANIZATION,
                purpose="audit-sealing",
                algorithm=str(SEALING_KEY),
                version=version,
                label=f"clm-audit-sealing-v{version}",
                state="generating",
            )
        )
