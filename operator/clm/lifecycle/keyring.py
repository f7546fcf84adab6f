"""The key-encryption key that new private keys are wrapped under."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from clm.errors import KeyMissing
from clm.resources.records import HsmKeyRow
from clm.settings import NAMESPACE, SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.storage.secure.keys import KeyStore


logger = logging.getLogger(__name__)

_STOPPED = frozenset({"suspended", "deactivated", "compromised"})


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
        its id is derived, and its insertion is the lock. Under a KEK that was suspended or has ended, what there is
        goes on to be opened and published; that nothing new is wrapped is seen to where an intent is written.
        """
        rows = await self._store.of_purpose("kek", SYSTEM_ORGANIZATION)
        active = [row for row in rows if row.state == "active"]
        if active:
            await self._keys.verify(active[0])
            self._current = active[0]
            return
        if not rows and await self._opened_stopped():
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

    async def _opened_stopped(self) -> bool:
        """Go on with the newest KEK that is stopped; False when there was never one."""
        rows = [row for row in await self._store.all_rows() if row.purpose == "kek" and row.state in _STOPPED]
        if not rows:
            return False
        newest = max(rows, key=lambda row: row.version)
        logger.error("the key-encryption key %s is %s (%s): nothing is issued", *_told(newest))
        await self._keys.verify(newest)
        self._current = newest
        return True


def _told(row: HsmKeyRow) -> tuple[str, str, str]:
    return row.label, row.state, row.state_reason or "no reason given"
