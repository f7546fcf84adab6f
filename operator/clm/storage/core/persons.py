"""Personal data in clm_core_db: who somebody is, and how all that is emptied while the row stays."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.storage import audit_sql, tombstones
from clm.storage.tombstones import Tombstone

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from clm.resources.audit import AuditRecord
    from clm.storage.database import Connection, Database

_COLUMNS = "id, organization_id, username, status, legal_hold, updated_at, display_name, email"

_BY_NAME = f"SELECT {_COLUMNS} FROM users WHERE lower(username) = lower(%(name)s) ORDER BY created_at"  # noqa: S608
_HELD = f"SELECT {_COLUMNS} FROM users WHERE id = %(id)s FOR UPDATE"  # noqa: S608
_STANDING = f"SELECT {_COLUMNS} FROM users WHERE id = ANY(%(ids)s) AND status <> 'erased'"  # noqa: S608

# In this order: what names the person elsewhere goes before the name does. Decisions stay decisions: an approval is by
# the pseudonym now.
_EMPTY = """
DELETE FROM sessions WHERE user_id = %(id)s;
DELETE FROM notifications WHERE recipient_user_id = %(id)s;
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, now()), deleted_at = coalesce(deleted_at, now()),
    revocation_reason = coalesce(revocation_reason, 'erased')
WHERE user_id = %(id)s;
UPDATE user_roles SET revoked_at = now() WHERE user_id = %(id)s AND revoked_at IS NULL;
UPDATE user_organizations SET left_at = now() WHERE user_id = %(id)s AND left_at IS NULL;
UPDATE workflow_steps SET approver = 'user:' || %(id)s::text, approver_identity = '{}', comment = NULL
WHERE approver_user_id = %(id)s AND approver IS NOT NULL;
UPDATE workflow_instances SET requested_by = '{}'
WHERE requested_by <> '{}' AND (
    requester_user_id = %(id)s OR requested_by->>'subject' = %(id)s::text
    OR (organization_id = %(organization_id)s AND lower(requested_by->>'username') = lower(%(username)s::text)));
UPDATE certificate_metadata SET requested_by = '{}'
WHERE requested_by <> '{}' AND (
    owner_user_id = %(id)s OR requested_by->>'subject' = %(id)s::text
    OR (organization_id = %(organization_id)s AND lower(requested_by->>'username') = lower(%(username)s::text)));
UPDATE policies SET changed_by = '{}'
WHERE changed_by->>'subject' = %(id)s::text
   OR (organization_id = %(organization_id)s AND lower(changed_by->>'username') = lower(%(username)s::text));
UPDATE users
SET username = 'erased-' || id::text, display_name = NULL, email = NULL, identity_issuer = NULL,
    identity_subject = NULL, password_hash = NULL, totp_secret_wrapped = NULL, status = 'erased', legal_hold = false,
    erased_at = %(erased_at)s
WHERE id = %(id)s
"""

_AUDIT = audit_sql.insert("audit_log")


@dataclass(frozen=True, slots=True)
class Person:
    """A user, as far as an erasure has to know them."""

    id: uuid.UUID
    organization_id: uuid.UUID
    username: str
    status: str
    legal_hold: bool
    updated_at: datetime
    display_name: str | None
    email: str | None

    @property
    def names(self) -> list[str]:
        """What they are called, the login name first; nothing once they are erased."""
        return [] if self.status == "erased" else [it for it in (self.username, self.email, self.display_name) if it]


class PersonStore:
    """Finds persons and empties their rows."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def by_name(self, name: str) -> list[Person]:
        """Users of that name; there may be one an organization."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_BY_NAME, {"name": name})
            return [Person(*row) for row in await cursor.fetchall()]

    async def standing(self, ids: Sequence[uuid.UUID]) -> list[Person]:
        """Those of these users who are not erased."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_STANDING, {"ids": list(ids)})
            return [Person(*row) for row in await cursor.fetchall()]

    @asynccontextmanager
    async def held(self, user_id: uuid.UUID) -> AsyncIterator[HeldPerson | None]:
        """Hold a user's row, so that no legal hold comes between the look and the act; None where there is none."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_HELD, {"id": user_id})
            row = await cursor.fetchone()
            yield HeldPerson(Person(*row), connection, self) if row else None

    async def tombstones(self) -> Sequence[Tombstone]:
        """Every tombstone, oldest first."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(tombstones.SELECT)
            return [Tombstone(*row) for row in await cursor.fetchall()]

    async def leave(self, stone: Tombstone) -> None:
        """Leave a tombstone where it is missing."""
        async with self._database.connection() as connection:
            await connection.execute(tombstones.INSERT, stone._asdict())

    async def audit(self, connection: Connection, record: AuditRecord) -> None:
        """Write an audit record in the caller's transaction."""
        await connection.execute(_AUDIT, audit_sql.parameters(record, origin=self._origin, version=self._version))


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """A user whose row nobody else can change meanwhile."""

    person: Person
    _connection: Connection
    _store: PersonStore

    async def empty(self, stone: Tombstone, audit: AuditRecord) -> None:
        """Empty all that tells who it is, end what they could do, and leave the tombstone."""
        values = {
            "id": self.person.id,
            "organization_id": self.person.organization_id,
            "username": self.person.username,
            "erased_at": stone.erased_at,
        }
        for statement in _EMPTY.split(";"):
            await self._connection.execute(statement.encode(), values)
        await self._connection.execute(tombstones.INSERT, stone._asdict())
        await self._store.audit(self._connection, audit)
