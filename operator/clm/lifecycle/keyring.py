"""The key-encryption key that new private keys are wrapped under."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from clm.errors import KeyMissing
from clm.resources.records import HsmKeyRow
from clm.settings import NAMESPACE, SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.storage.secure.keys import KeyStore


class Keyring:
    """Knows the current KEK. `open` must have succeeded before anything is issued."""

    def __init__(self, *, keys: HsmKeys, store: KeyStore) -> None:
        self._keys = keys
        self._store = store
        self._current: HsmKeyRow | None = None

    @property
    def current_id(self) -> uuid.UUID:
        """Id of the KEK for new writes. Raises KeyMissing before `open`."""
        if self._current is None:
            raise KeyMissing("the key-encryption key is not open yet")
        return self._current.id

    async def open(self) -> None:
        """Find the KEK and prove that the token holds it; on the very first start, make it.

        First start means that no row of that purpose stands. Two operators that start at once write the same row:
        its id is derived, and its insertion is the lock.
        """
        rows = await self._store.of_purpose("kek", SYSTEM_ORGANIZATION)
        active = [row for row in rows if row.state == "active"]
        if active:
            await self._keys.verify(active[0])
            self._current = active[0]
            return
        version = rows[0].version if rows else 1
        self._current = await self._keys.ensure(
            HsmKeyRow(
                id=uuid.uuid5(NAMESPACE, f"kek/{SYSTEM_ORGANIZATION}/{version}"),
                organization_id=SYSTEM_ORGANIZATION,
                purpose="kek",
                algorithm="AES-256",
                version=version,
                label=f"clm-kek-v{version}",
                state="generating",
            )
        )
        await self._keys.verify(self._current)
