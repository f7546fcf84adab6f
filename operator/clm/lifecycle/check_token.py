"""Compares the token with the record: keys without a row, rows without their key.

An object that no row owns is quarantined: written down with the moment at which it was first seen, reported each time,
and left alone. It may be the only copy of a key whose row was lost.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from clm.errors import HsmError
from clm.hsm.keys import list_keys
from clm.lifecycle.findings import Finding
from clm.resources.key_states import DESTRUCTION_BEGUN
from clm.storage.secure.quarantine import TokenObject

if TYPE_CHECKING:
    import uuid

    from clm.hsm.keys import KeyObject
    from clm.hsm.token import Token
    from clm.lifecycle.findings import Report
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.resources.records import HsmKeyRow
    from clm.storage.secure.keys import KeyStore
    from clm.storage.secure.quarantine import QuarantineStore


_AT_WORK: Final = timedelta(minutes=5)
"""No key takes longer to be made or destroyed than this, unless a crash came between."""


class TokenCheck:
    """Compares the token's objects with the rows of encryption_keys.

    An object is nobody's whichever cluster's row is missing; what is wrong with a row is its own cluster's finding.
    """

    def __init__(
        self,
        *,
        keys: KeyStore,
        quarantine: QuarantineStore,
        token: Token,
        hsm_keys: HsmKeys,
        cluster_id: uuid.UUID,
    ) -> None:
        self._keys = keys
        self._quarantine = quarantine
        self._token = token
        self._hsm_keys = hsm_keys
        self._cluster_id = cluster_id

    async def compare(self, report: Report, *, patience: timedelta = _AT_WORK) -> None:
        """Look at every object and at every row once, and at what looks wrong again.

        `patience` is how long a key may be in the making or going; at least minutes are given.
        """
        # Objects first: a key that is made meanwhile has its row by the time the rows are read.
        objects = await list_keys(self._token)
        rows = {row.id: row for row in await self._keys.all_rows()}
        report.count("token objects", len(objects))
        orphans = await self._still_there(
            [it for it in objects if it.key_id is None or it.key_id not in rows or rows[it.key_id].state == "destroyed"]
        )
        for quarantined in await self._quarantine.see(orphans, token_serial=self._token.serial):
            since = quarantined.first_seen_at.strftime("%Y-%m-%d %H:%M")
            what = f"{quarantined.object_class} {quarantined.cka_id.hex() or 'without id'}"
            problem = f"{what} is in the token and has no owner; in quarantine since {since}"
            report.add(Finding("token", "object-orphaned", quarantined.label or "object", problem))
        for (key_id, kind), number in Counter((it.key_id, it.object_class) for it in objects).items():
            row = rows.get(key_id) if key_id is not None else None
            if row is not None and row.state != "destroyed" and number > 1:
                problem = f"the token holds {number} {kind} objects of its id; all but the recorded one are strangers"
                report.add(Finding("token", "object-orphaned", row.label, problem))
        stuck = await self._keys.stuck(older_than=max(patience, _AT_WORK))
        for row in rows.values():
            if row.owner is None or row.owner.cluster_id == self._cluster_id:
                await self._look_at(report, row, is_stuck=row.id in stuck)

    async def _still_there(self, doubtful: list[KeyObject]) -> list[TokenObject]:
        """Leave out what was destroyed, as it should be, between the list of the objects and that of the rows."""
        standing = {_identity(it) for it in await list_keys(self._token)} if doubtful else set()
        return [
            TokenObject(token_serial=self._token.serial, cka_id=it.raw_id, label=it.label, object_class=it.object_class)
            for it in doubtful
            if _identity(it) in standing
        ]

    async def _look_at(self, report: Report, row: HsmKeyRow, *, is_stuck: bool) -> None:
        if row.state in {"active", "suspended"} and row.is_in_token:
            try:
                await self._hsm_keys.verify(row)
            except HsmError as error:
                now = await self._keys.get(row.id)
                if now is None or now.state not in {"active", "suspended"}:
                    return  # it was ended meanwhile
                # A token restored from the wrong backup has keys of the right id that are not the right keys.
                report.add(Finding("token", "hsm-key-wrong", row.label, f"{row.purpose} key: {error}"))
        elif row.state == "generating" and is_stuck:
            report.add(Finding("token", "key-unfinished", row.label, f"{row.purpose} key is still being made"))
        elif is_stuck and (row.state_reason or "").startswith(DESTRUCTION_BEGUN):
            problem = f"destruction of this {row.purpose} key has begun and not ended: clm keys destroy {row.id}"
            report.add(Finding("token", "key-unfinished", row.label, problem))


def _identity(found: KeyObject) -> tuple[bytes, str, str]:
    return found.raw_id, found.label, found.object_class
