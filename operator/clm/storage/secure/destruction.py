"""Destroys stored private keys that nothing needs any more: the wrapped key and its ciphertext become NULL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from clm.errors import KeyInUse
from clm.resources.audit import AuditRecord
from clm.storage import audit_sql

if TYPE_CHECKING:
    import uuid
    from datetime import datetime

    from clm.storage.database import Connection, Database

# A key is due when every certificate of it has ended for long enough, or it never got one; one that a request may be
# signed for, and one under legal hold, is never due.
_DUE = """
    k.state <> 'destroyed' AND NOT k.legal_hold
    AND NOT EXISTS (
        SELECT FROM certificate_requests r WHERE r.private_key_id = k.id AND r.state = 'pending')
    AND NOT EXISTS (
        SELECT FROM certificates c WHERE c.private_key_id = k.id AND NOT (
            (c.state = 'superseded' AND c.updated_at < %(superseded_before)s)
            OR (c.state = 'revoked' AND c.updated_at < %(revoked_before)s)
            OR c.not_after < %(expired_before)s))
    AND (k.created_at < %(superseded_before)s
         OR EXISTS (SELECT FROM certificates c WHERE c.private_key_id = k.id))
"""

_COUNT = f"SELECT count(*) FROM private_keys k WHERE {_DUE}"  # noqa: S608 - constants only

_HOLD = f"""
SELECT k.id FROM private_keys k WHERE k.id > %(after)s AND {_DUE}
ORDER BY k.id LIMIT %(limit)s FOR UPDATE OF k SKIP LOCKED
"""  # noqa: S608 - constants only

# A statement of its own sees what was committed while the rows were waited for: an intent that takes the key again.
_DESTROY = f"""
UPDATE private_keys k
SET state = 'destroyed', destroyed_at = now(), wrapped_dek = NULL, ciphertext = NULL
WHERE k.id = ANY(%(ids)s) AND {_DUE}
RETURNING k.id, k.organization_id, k.spki_sha256
"""  # noqa: S608 - constants only

_ONE = "SELECT id, organization_id, state, legal_hold, spki_sha256 FROM private_keys WHERE id = %(id)s"

_HELD = "SELECT legal_hold FROM private_keys WHERE id = %(id)s FOR UPDATE"

_IN_USE = """
SELECT (SELECT count(*) FROM certificates c
        WHERE c.private_key_id = %(id)s AND c.state = 'active' AND c.not_after > now())
     + (SELECT count(*) FROM certificate_requests r WHERE r.private_key_id = %(id)s AND r.state = 'pending')
"""

_DESTROY_ONE = """
UPDATE private_keys SET state = 'destroyed', destroyed_at = now(), wrapped_dek = NULL, ciphertext = NULL
WHERE id = %(id)s AND state <> 'destroyed'
"""

_COMPROMISE = """
UPDATE private_keys SET state = 'compromised', compromised_at = coalesce(compromised_at, now())
WHERE id = %(id)s AND state IN ('active', 'superseded')
"""

_AUDIT = audit_sql.insert("secure_audit_log")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCutoffs:
    """Moments before which a certificate must have ended for its key to be due."""

    superseded_before: datetime
    revoked_before: datetime
    expired_before: datetime


class LeafKey(NamedTuple):
    """A stored private key, without the key."""

    id: uuid.UUID
    organization_id: uuid.UUID
    state: str
    legal_hold: bool
    spki_sha256: bytes


class DestroyedBatch(NamedTuple):
    """How many keys were destroyed, and after which id to go on; None when the end was reached."""

    destroyed: int
    after: uuid.UUID | None


class PrivateKeyDestruction:
    """Finds private keys that are due and destroys them."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def due(self, cutoffs: KeyCutoffs) -> int:
        """Count the keys that are due."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_COUNT, _values(cutoffs))
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def destroy_batch(self, cutoffs: KeyCutoffs, *, after: uuid.UUID, limit: int, reason: str) -> DestroyedBatch:
        """Destroy some of what is due, in one transaction, with an audit record a key. Safe to repeat."""
        values = _values(cutoffs) | {"after": after, "limit": limit}
        async with self._database.transaction() as connection:
            held = [row[0] for row in await (await connection.execute(_HOLD, values)).fetchall()]
            if not held:
                return DestroyedBatch(0, None)
            gone = await (await connection.execute(_DESTROY, values | {"ids": held})).fetchall()
            async with connection.cursor() as cursor:
                records = [_record(row[0], row[1], bytes(row[2]), "system", "clm-controller", reason) for row in gone]
                await cursor.executemany(_AUDIT, [self._parameters(record) for record in records])
            return DestroyedBatch(len(gone), held[-1] if len(held) == limit else None)

    async def one(self, key_id: uuid.UUID) -> LeafKey | None:
        """One stored key; None when there is none of that id."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_ONE, {"id": key_id})).fetchone()
            return LeafKey(row[0], row[1], row[2], row[3], bytes(row[4])) if row else None

    async def destroy_one(self, key: LeafKey, *, reason: str, actor: str) -> int:
        """Destroy one key by a person's word; returns how many certificates and requests need it: then it stays.

        Raises KeyInUse when it is under legal hold.
        """
        async with self._database.transaction() as connection:
            held = await (await connection.execute(_HELD, {"id": key.id})).fetchone()
            if held is not None and held[0]:
                raise KeyInUse(f"private key {key.id} is under legal hold")
            row = await (await connection.execute(_IN_USE, {"id": key.id})).fetchone()
            if row is not None and row[0]:
                return int(row[0])
            done = await connection.execute(_DESTROY_ONE, {"id": key.id})
            if done.rowcount:
                await self._audit(connection, _record(*_ids(key), "user", actor, reason))
            return 0

    async def compromise(self, key: LeafKey, *, reason: str, actor: str) -> bool:
        """Call a key compromised; False when it was already, or is destroyed."""
        async with self._database.transaction() as connection:
            done = await connection.execute(_COMPROMISE, {"id": key.id})
            if done.rowcount:
                await self._audit(connection, _record(*_ids(key), "user", actor, reason, action="key.compromise"))
            return bool(done.rowcount)

    async def _audit(self, connection: Connection, record: AuditRecord) -> None:
        await connection.execute(_AUDIT, self._parameters(record))

    def _parameters(self, record: AuditRecord) -> dict[str, object]:
        return audit_sql.parameters(record, origin=self._origin, version=self._version)


def _values(cutoffs: KeyCutoffs) -> dict[str, object]:
    return {
        "superseded_before": cutoffs.superseded_before,
        "revoked_before": cutoffs.revoked_before,
        "expired_before": cutoffs.expired_before,
    }


def _ids(key: LeafKey) -> tuple[uuid.UUID, uuid.UUID, bytes]:
    return key.id, key.organization_id, key.spki_sha256


def _record(
    key_id: uuid.UUID,
    organization_id: uuid.UUID,
    spki_sha256: bytes,
    actor_type: str,
    actor: str,
    reason: str,
    *,
    action: str = "key.destroy",
) -> AuditRecord:
    return AuditRecord(
        organization_id=organization_id,
        action=action,  # type: ignore[arg-type]
        object_type="private-key",
        object_id=str(key_id),
        actor_type=actor_type,  # type: ignore[arg-type]
        actor_id=actor,
        reason=reason,
        details={"spkiSha256": spki_sha256.hex()},
    )
