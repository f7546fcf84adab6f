"""How a key comes to be in the token: by intent, like a certificate.

1. A row in `encryption_keys`, state `generating`. Its id is the key's CKA_ID.
2. What an interrupted attempt left in the token under that id is removed: only a `generating` row allows that.
3. The key is generated in the token and read back.
4. The row becomes `active`, with the token's serial and the key's public hash or check value.

A crash between any two of them leaves a `generating` row, and the next attempt starts at 2. For an `active` row
a missing key means that the token is gone, never "make a new one".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clm.errors import HsmUnavailable, KeyMismatch, KeyMissing
from clm.hsm import kek as hsm_kek
from clm.hsm import keys as hsm_keys
from clm.hsm.uri import TokenUri
from clm.resources.audit import AuditRecord
from clm.resources.key_states import Cryptoperiods
from clm.resources.keys import KeySpec
from clm.storage.secure.keys import NewKey

if TYPE_CHECKING:
    import uuid

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.resources.records import HsmKeyRow
    from clm.storage.secure.keys import KeyStore


_MOST_WAITING = 4
"""So many callers may wait until the token has made another key; the others come again later."""


class HsmKeys:
    """Makes and finds the keys that live in the token.

    One key is made at a time: each holds a connection, and a worker of the reconcilers, for as long as the token
    takes.
    """

    def __init__(
        self, *, token: Token, store: KeyStore, boundary: Boundary, periods: Cryptoperiods | None = None
    ) -> None:
        self._periods = periods or Cryptoperiods()
        self._token = token
        self._store = store
        self._boundary = boundary
        self._making = asyncio.Semaphore(1)
        self._waiting = 0

    async def ensure(self, row: HsmKeyRow) -> HsmKeyRow:
        """Bring the key of this row into being, whatever an earlier attempt left. Returns the `active` row.

        Raises KeyMissing when the row is neither `generating` nor `active`, DatabaseUnavailable, and HsmUnavailable,
        also while the token makes too many others.
        """
        if self._waiting >= _MOST_WAITING:
            raise HsmUnavailable("the token is making other keys; this one's turn comes later")
        self._waiting += 1
        try:
            async with self._making:
                return await self._ensure(row)
        finally:
            self._waiting -= 1

    async def discard(self, row: HsmKeyRow, *, why: str) -> None:
        """Remove from the token what there is of a key that was never finished; its row becomes `destroyed`.

        Does nothing when the row is not `generating` any more. A crash in between leaves a `generating` row.
        """
        async with self._making, self._store.locked(row.id) as locked:
            if locked is not None and locked.row.state == "generating":
                await hsm_keys.remove_unfinished(self._token, row.id, for_good=True)
                await locked.discard(why, _audit(row, "key.destroy", reason=why))

    async def _ensure(self, row: HsmKeyRow) -> HsmKeyRow:
        wrap_algorithm = "aes-256-gcm" if row.purpose == "kek" else None
        await self._store.insert_generating(row, _audit(row, "key.generate"), wrap_algorithm=wrap_algorithm)
        self._boundary("key.row-written")
        async with self._store.locked(row.id) as locked:
            if locked is None:
                raise KeyMissing(f"another {row.purpose} key of version {row.version} is being made")
            if locked.row.state == "generating":
                made = await self._generate(locked.row)
                self._boundary("key.read-back")
                await locked.activate(made, _audit(row, "key.activate"))
        self._boundary("key.activated")
        current = await self._store.get(row.id)
        if current is None or current.state != "active":
            raise KeyMissing(f"key {row.id} is {current.state if current else 'gone'}")
        return current

    async def verify(self, row: HsmKeyRow) -> None:
        """Check that the token holds the very key that an `active` row names."""
        if row.check_value is not None:
            await hsm_kek.verify_kek(self._token, row.id, row.check_value)
            return
        found = await hsm_keys.find_signing_key(self._token, row.id, spki=row.spki)
        if found is None:
            raise KeyMissing(f"the token has no key {row.id} ({row.label}); restore the token, keys are never remade")
        if found.spki != row.spki:
            raise KeyMismatch(f"key {row.id} ({row.label}) in the token is not the recorded one")

    async def _generate(self, row: HsmKeyRow) -> NewKey:
        await hsm_keys.remove_unfinished(self._token, row.id)
        check_value, spki, attributes = None, None, {}
        if row.purpose == "kek":
            check_value = await hsm_kek.generate_kek(
                self._token, key_id=row.id, label=row.label, boundary=self._boundary
            )
        else:
            made = await hsm_keys.generate_signing_key(
                self._token,
                key_id=row.id,
                label=row.label,
                spec=KeySpec.parse(row.algorithm),
                boundary=self._boundary,
            )
            spki, attributes = made.spki, dict(made.attributes)
        return NewKey(
            token_label=self._token.label,
            token_serial=self._token.serial,
            token_uri=str(_uri(self._token, row.id)),
            attributes=attributes,
            spki=spki,
            check_value=check_value,
            period=self._periods.of(row.purpose),
        )


def _uri(token: Token, key_id: uuid.UUID) -> TokenUri:
    values = (("token", token.label.encode()), ("serial", token.serial.encode()), ("id", key_id.bytes))
    return TokenUri(path=values)


def _audit(row: HsmKeyRow, action: str, *, reason: str | None = None) -> AuditRecord:
    return AuditRecord(
        organization_id=row.organization_id,
        action=action,  # type: ignore[arg-type]
        object_type="key",
        object_id=str(row.id),
        reason=reason,
        details={"purpose": row.purpose, "algorithm": row.algorithm, "version": row.version, "label": row.label},
    )
