"""Changes of state of keys, and what depends on each: what `clm keys` shows and does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from clm.resources.key_states import DESTRUCTION_BEGUN
from clm.storage import audit_sql

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from clm.resources.audit import AuditRecord
    from clm.resources.records import KeyPurpose, KeyState
    from clm.storage.database import Connection, Database

# A superseded certificate verifies without the CA's private key; one that stands for its object may have to be revoked.
_OVERVIEW = """
SELECT k.id, k.organization_id, k.purpose, k.algorithm, k.version, k.label, k.state, k.state_reason, k.token_label,
       k.token_serial, k.namespace, k.name, k.subject_reference, k.legal_hold, k.created_at, k.activated_at,
       k.oup_ends_at, k.rup_ends_at,
       (SELECT count(*) FROM private_keys p WHERE p.encryption_key_id = k.id AND p.state <> 'destroyed')
           AS private_keys,
       (SELECT count(*) FROM encryption_keys w WHERE w.wrapping_key_id = k.id AND w.state <> 'destroyed')
           AS wrapped_keys,
       (SELECT count(*) FROM certificates c
        WHERE c.issuer_key_id = k.id AND c.subject_key_id IS DISTINCT FROM k.id AND c.state = 'active'
          AND c.not_after > now() AND c.deleted_at IS NULL) AS issued,
       (SELECT count(*) FROM certificates c
        WHERE c.subject_key_id = k.id AND c.state = 'active' AND c.not_after > now() AND c.deleted_at IS NULL)
           AS own_certificates,
       (SELECT count(*) FROM certificate_requests r WHERE r.issuer_key_id = k.id AND r.state = 'pending')
           AS pending_requests
FROM encryption_keys k
WHERE k.deleted_at IS NULL
"""

_LIST = f"{_OVERVIEW} ORDER BY k.purpose, k.namespace, k.name, k.version, k.created_at"
_ONE = f"{_OVERVIEW} AND k.id = %(id)s"

_LOCK = "SELECT state FROM encryption_keys WHERE id = %(id)s AND deleted_at IS NULL FOR UPDATE"

_CHANGE = """
UPDATE encryption_keys
SET state = %(state)s, state_reason = %(reason)s,
    suspended_at = CASE WHEN %(state)s = 'suspended' THEN now() ELSE suspended_at END,
    deactivated_at = CASE WHEN %(state)s = 'deactivated' THEN now() ELSE deactivated_at END,
    compromised_at = CASE WHEN %(state)s = 'compromised' THEN now() ELSE compromised_at END,
    destroyed_at = CASE WHEN %(state)s = 'destroyed' THEN now() ELSE destroyed_at END,
    wrapped_key = CASE WHEN %(state)s = 'destroyed' THEN NULL ELSE wrapped_key END
WHERE id = %(id)s
"""

# What nobody may sign any more is not left waiting. What was signed a moment ago is recorded all the same.
_FAIL_INTENTS = """
UPDATE certificate_requests SET state = 'failed', failure_reason = %(reason)s
WHERE issuer_key_id = %(id)s AND state = 'pending'
"""

_REASON = "UPDATE encryption_keys SET state_reason = %(reason)s WHERE id = %(id)s"

_TAKE_BACK = """
UPDATE encryption_keys SET state_reason = %(former)s
WHERE id = %(id)s AND state <> 'destroyed' AND state_reason = %(begun)s
"""

_STOPPED = """
SELECT id, namespace, name, state, state_reason FROM encryption_keys
WHERE purpose = 'ca-signing' AND state IN ('suspended', 'deactivated', 'compromised', 'destroyed')
  AND deleted_at IS NULL
"""

_PERIODS = """
SELECT purpose, count(*) FILTER (WHERE oup_ends_at <= now()), min(oup_ends_at)
FROM encryption_keys
WHERE state IN ('active', 'suspended') AND purpose <> 'subject-shred' AND oup_ends_at IS NOT NULL
  AND deleted_at IS NULL
GROUP BY purpose
"""

_AUDIT = audit_sql.insert("secure_audit_log")

_ENDED = frozenset({"deactivated", "compromised", "destroyed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOverview:
    """One key with what depends on it.

    `issued` and `own_certificates` count certificates that stand for their objects and have not expired.
    """

    id: uuid.UUID
    organization_id: uuid.UUID
    purpose: KeyPurpose
    algorithm: str
    version: int
    label: str
    state: KeyState
    state_reason: str | None
    token_label: str | None
    token_serial: str | None
    namespace: str | None
    name: str | None
    subject_reference: str | None
    legal_hold: bool
    created_at: datetime
    activated_at: datetime | None
    oup_ends_at: datetime | None
    rup_ends_at: datetime | None
    private_keys: int
    wrapped_keys: int
    issued: int
    own_certificates: int
    pending_requests: int

    @property
    def dependents(self) -> dict[str, int]:
        """What could no longer be opened or revoked without this key; counts of none are left out."""
        counts = {
            "private keys": self.private_keys,
            "wrapped keys": self.wrapped_keys,
            "certificates that it issued": self.issued,
            "certificates of its own": self.own_certificates,
            "requests that wait for its signature": self.pending_requests,
        }
        return {what: number for what, number in counts.items() if number}


@dataclass(frozen=True, slots=True)
class StoppedKey:
    """A CA key that signs nothing now, and why."""

    id: uuid.UUID
    namespace: str | None
    name: str | None
    state: KeyState
    state_reason: str | None


class PurposePeriod(NamedTuple):
    """How the keys of one purpose are in their cryptoperiods: how many are past it, and when the first one ends."""

    purpose: KeyPurpose
    past: int
    first_end: datetime


class KeyActStore:
    """Reads keys with their dependents and changes their states. The database refuses a step that is not allowed."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def overview(self) -> list[KeyOverview]:
        """Every key, by purpose, owner and version."""
        async with self._database.connection() as connection:
            return await _overviews(connection, _LIST)

    async def one(self, key_id: uuid.UUID) -> KeyOverview | None:
        """One key; None when there is none of that id."""
        async with self._database.connection() as connection:
            found = await _overviews(connection, _ONE, id=key_id)
            return found[0] if found else None

    async def stopped(self) -> list[StoppedKey]:
        """CA keys that must not sign."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(StoppedKey)) as cursor,
        ):
            await cursor.execute(_STOPPED)
            return await cursor.fetchall()

    async def periods(self) -> list[PurposePeriod]:
        """Cryptoperiods by purpose, of keys that are in use."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_PERIODS)
            return [PurposePeriod(*row) for row in await cursor.fetchall()]

    async def change(
        self, key_id: uuid.UUID, state: KeyState, *, came_from: KeyState, reason: str, audit: AuditRecord
    ) -> bool:
        """Bring a key from one state to the next; False when it is not in the first one any more.

        Intents that a CA key will not sign any more become failed in the same transaction.
        """
        async with self._database.transaction() as connection:
            if await _locked_state(connection, key_id) != came_from:
                return False
            await self._change(connection, key_id, state, reason=reason, audit=audit)
            return True

    async def begin_destruction(
        self, key_id: uuid.UUID, *, permit: Callable[[KeyOverview], None], reason: str, audit: AuditRecord
    ) -> KeyOverview | None:
        """Write down that the key is about to be destroyed in the token; gives it as it was. Safe to repeat.

        `permit` looks at the key under the lock; what it raises leaves the row as it was. None: there is no such key.
        """
        async with self._database.transaction() as connection:
            state = await _locked_state(connection, key_id)
            found = await _overviews(connection, _ONE, id=key_id)
            if state is None or not found:
                return None
            permit(found[0])
            await connection.execute(_REASON, {"id": key_id, "reason": f"{DESTRUCTION_BEGUN}{reason}"})
            await self._audit(connection, audit)
            return found[0]

    async def take_back_destruction(self, before: KeyOverview, *, reason: str, audit: AuditRecord) -> None:
        """Take back what `begin_destruction` wrote: nothing was destroyed, and the key's own reason counts again."""
        values = {"id": before.id, "former": before.state_reason, "begun": f"{DESTRUCTION_BEGUN}{reason}"}
        async with self._database.transaction() as connection:
            taken_back = await connection.execute(_TAKE_BACK, values)
            if taken_back.rowcount:
                await self._audit(connection, audit)

    @asynccontextmanager
    async def destroying(
        self, key_id: uuid.UUID, *, reason: str, audit: AuditRecord
    ) -> AsyncIterator[KeyOverview | None]:
        """Hold the key's row while the token destroys its objects; on the way out it becomes `destroyed`.

        Yields the key with its dependents as they are under the lock. An exception leaves the row as it was.
        """
        async with self._database.transaction() as connection:
            # The token may take its time; the lock must not be lost meanwhile.
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            state = await _locked_state(connection, key_id)
            found = await _overviews(connection, _ONE, id=key_id)
            if state is None or not found:
                yield None
                return
            yield found[0]
            await self._change(connection, key_id, "destroyed", reason=reason, audit=audit)

    async def _change(
        self, connection: Connection, key_id: uuid.UUID, state: KeyState, *, reason: str, audit: AuditRecord
    ) -> None:
        await connection.execute(_CHANGE, {"id": key_id, "state": state, "reason": reason})
        if state in _ENDED:
            why = f"the issuer's key was {state}: {reason}"
            await connection.execute(_FAIL_INTENTS, {"id": key_id, "reason": why})
        await self._audit(connection, audit)

    async def _audit(self, connection: Connection, record: AuditRecord) -> None:
        await connection.execute(_AUDIT, audit_sql.parameters(record, origin=self._origin, version=self._version))


async def _locked_state(connection: Connection, key_id: uuid.UUID) -> KeyState | None:
    cursor = await connection.execute(_LOCK, {"id": key_id})
    row = await cursor.fetchone()
    return row[0] if row else None


async def _overviews(connection: Connection, query: str, **parameters: object) -> list[KeyOverview]:
    async with connection.cursor(row_factory=class_row(KeyOverview)) as cursor:
        await cursor.execute(query.encode(), parameters)
        return await cursor.fetchall()
