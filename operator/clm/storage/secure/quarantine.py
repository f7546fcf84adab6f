"""clm_work.quarantined_objects: what was found in the token without an owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage import audit_sql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clm.storage.database import Database

# (xmax = 0) is true for a row that this statement has inserted.
_SEE = """
INSERT INTO clm_work.quarantined_objects (organization_id, token_serial, cka_id, label, object_class)
VALUES (%(organization_id)s, %(token_serial)s, %(cka_id)s, %(label)s, %(object_class)s)
ON CONFLICT (token_serial, cka_id, object_class, label)
DO UPDATE SET last_seen_at = clock_timestamp(), gone_at = NULL
RETURNING cka_id, label, object_class, first_seen_at, xmax = 0
"""

_GONE = """
UPDATE clm_work.quarantined_objects SET gone_at = clock_timestamp()
WHERE token_serial = %(token_serial)s AND gone_at IS NULL AND last_seen_at < %(began)s
"""

_AUDIT = audit_sql.insert("secure_audit_log")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenObject:
    """An object in the token that no row owns."""

    token_serial: str
    cka_id: bytes
    label: str
    object_class: str


class Quarantined(NamedTuple):
    """The same on record."""

    cka_id: bytes
    label: str
    object_class: str
    first_seen_at: datetime


class QuarantineStore:
    """Writes down what has no owner. Nothing here touches the token."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def see(self, objects: Sequence[TokenObject], *, token_serial: str) -> list[Quarantined]:
        """Record these as all that is without an owner in this token now; each new one leaves an audit record."""
        seen: list[Quarantined] = []
        async with self._database.transaction() as connection:
            cursor = await connection.execute("SELECT clock_timestamp()")
            (began,) = await cursor.fetchone() or (None,)
            for item in objects:
                values = {
                    "organization_id": SYSTEM_ORGANIZATION,
                    "token_serial": item.token_serial,
                    "cka_id": item.cka_id,
                    "label": item.label,
                    "object_class": item.object_class,
                }
                cursor = await connection.execute(_SEE, values)
                row = await cursor.fetchone()
                assert row is not None  # noqa: S101 - inserted or updated
                seen.append(Quarantined(bytes(row[0]), row[1], row[2], row[3]))
                if row[4]:
                    record = _audit(item)
                    await connection.execute(
                        _AUDIT, audit_sql.parameters(record, origin=self._origin, version=self._version)
                    )
            await connection.execute(_GONE, {"token_serial": token_serial, "began": began})
        return seen


def _audit(item: TokenObject) -> AuditRecord:
    return AuditRecord(
        organization_id=SYSTEM_ORGANIZATION,
        action="key.quarantine",
        object_type="token-object",
        object_id=item.cka_id.hex() or "-",
        reason="the token holds it and no row owns it",
        details={"label": item.label, "class": item.object_class, "token": item.token_serial},
    )
