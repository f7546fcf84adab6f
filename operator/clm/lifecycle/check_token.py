"""Compares the token with the record: keys without a row, rows without their key.

An object that no row owns is quarantined: written down with the moment at which it was first seen, reported each time,
and left alone. It may be the only copy of a key whose row was lost.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from clm.errors import HsmError
from clm.hsm.keys import list_keys
from clm.lifecycle.findings import Finding
from clm.resources.key_states import DESTRUCTION_BEGUN
from clm.storage.secure.quarantine import TokenObject

if TYPE_CHECKING:
    from clm.hsm.token import Token
    from clm.lifecycle.findings import Report
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.resources.records import HsmKeyRow
    from clm.storage.secure.keys import KeyStore
    from clm.storage.secure.quarantine import QuarantineStore


class TokenCheck:
    """Compares the token's objects with the rows of encryption_keys."""

    def __init__(self, *, keys: KeyStore, quarantine: QuarantineStore, token: Token, hsm_keys: HsmKeys) -> None:
        self._keys = keys
        self._quarantine = quarantine
        self._token = token
        self._hsm_keys = hsm_keys

    async def compare(self, report: Report) -> None:
        """Look at every object and at every row once."""
        # Objects first: a key that is made meanwhile has its row by the time the rows are read.
        objects = await list_keys(self._token)
        rows = {row.id: row for row in await self._keys.all_rows()}
        report.count("token objects", len(objects))
        orphans = [
            TokenObject(token_serial=self._token.serial, cka_id=it.raw_id, label=it.label, object_class=it.object_class)
            for it in objects
            if it.key_id is None or it.key_id not in rows or rows[it.key_id].state == "destroyed"
        ]
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
        for row in rows.values():
            await self._look_at(report, row)

    async def _look_at(self, report: Report, row: HsmKeyRow) -> None:
        if row.state in {"active", "suspended"} and row.is_in_token:
            try:
                await self._hsm_keys.verify(row)
            except HsmError as error:
                # A token restored from the wrong backup has keys of the right id that are not the right keys.
                report.add(Finding("token", "hsm-key-wrong", row.label, f"{row.purpose} key: {error}"))
        elif row.state == "generating":
            report.add(Finding("token", "key-unfinished", row.label, f"{row.purpose} key is still being made"))
        elif row.state != "destroyed" and (row.state_reason or "").startswith(DESTRUCTION_BEGUN):
            problem = f"destruction of this {row.purpose} key has begun and not ended: clm keys destroy {row.id}"
            report.add(Finding("token", "key-unfinished", row.label, problem))
