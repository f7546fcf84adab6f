"""Keys of persons, and the tombstones of those whose data were erased (clm_secure_db).

A person's key is a row of encryption_keys (purpose `subject-shred`) with the key wrapped in it. Its id follows from the
person and the version, so that of two who make it at once one gives way, and none is made for somebody erased.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.storage import audit_sql, tombstones
from clm.storage.tombstones import Tombstone

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import timedelta

    from clm.resources.audit import AuditRecord
    from clm.storage.database import Connection, Database

_READ = """
SELECT id, state, wrapping_key_id, wrapped_key FROM encryption_keys
WHERE purpose = 'subject-shred' AND organization_id = %(organization_id)s AND subject_reference = %(subject)s
ORDER BY version DESC LIMIT 1
"""

# The wrapping key is held, as by an issuance: a rotation that retires it waits, or this does.
_FENCE = "SELECT id FROM encryption_keys WHERE id = %(kek_id)s AND state = 'active' FOR SHARE"

_INSERT = """
INSERT INTO encryption_keys
    (id, organization_id, purpose, algorithm, version, label, state, wrap_algorithm, wrapping_key_id, wrapped_key,
     subject_reference, activated_at, oup_ends_at, rup_ends_at)
SELECT %(id)s, %(organization_id)s, 'subject-shred', 'AES-256', 1, %(label)s, 'active', 'aes-256-gcm', %(kek_id)s,
       %(wrapped_key)s, %(subject)s, now(), now() + %(originator)s, now() + %(recipient)s
WHERE NOT EXISTS (SELECT FROM clm_meta.erasure_tombstones WHERE subject_id = %(subject_id)s)
ON CONFLICT DO NOTHING
"""

# A row in place of a key that was never made: nobody makes it after the erasure, not even one who looked before it.
_PLACEHOLDER = """
INSERT INTO encryption_keys
    (id, organization_id, purpose, algorithm, version, label, state, subject_reference)
VALUES (%(id)s, %(organization_id)s, 'subject-shred', 'AES-256', 1, %(label)s, 'generating', %(subject)s)
ON CONFLICT DO NOTHING
"""

_HOLD = """
SELECT count(*) FROM (
    SELECT legal_hold FROM encryption_keys
    WHERE purpose = 'subject-shred' AND organization_id = %(organization_id)s AND subject_reference = %(subject)s
    FOR UPDATE
) AS keys WHERE legal_hold
"""

# The states allow no step from active to destroyed; both are one act here.
_DEACTIVATE = """
UPDATE encryption_keys SET state = 'deactivated', deactivated_at = now()
WHERE purpose = 'subject-shred' AND organization_id = %(organization_id)s AND subject_reference = %(subject)s
  AND state IN ('active', 'suspended')
"""

_DESTROY = """
UPDATE encryption_keys
SET state = 'destroyed', destroyed_at = now(), wrapped_key = NULL, state_reason = %(reason)s, legal_hold = false
WHERE purpose = 'subject-shred' AND organization_id = %(organization_id)s AND subject_reference = %(subject)s
  AND state <> 'destroyed'
"""

# A name is somebody else's in another organization; the id is the person's everywhere.
_ASKED = """
requested_by <> '{}' AND (
    requested_by->>'subject' = %(subject)s
    OR (organization_id = %(organization_id)s AND lower(requested_by->>'username') = lower(%(username)s::text)))
"""

# What was said about a revocation goes where the person asked for it or is named, as whole words in any case.
_FORGET = (
    f"""
    UPDATE certificate_revocations SET comment = NULL
    WHERE comment IS NOT NULL AND (
        ({_ASKED}) OR (organization_id = %(organization_id)s AND comment ~* ANY(%(named)s::text[])))
    """,  # noqa: S608 - constants only
    *(
        f"UPDATE {table} SET requested_by = '{{}}' WHERE {_ASKED}"  # noqa: S608 - constants only
        for table in ("certificate_requests", "certificate_revocations", "key_rotation_history")
    ),
)

_REQUESTERS = """
SELECT lower(requested_by->>'username') FROM certificate_requests
WHERE organization_id = %(organization_id)s AND requested_by ? 'username'
UNION SELECT lower(requested_by->>'username') FROM certificate_revocations
WHERE organization_id = %(organization_id)s AND requested_by ? 'username'
UNION SELECT lower(requested_by->>'username') FROM key_rotation_history
WHERE organization_id = %(organization_id)s AND requested_by ? 'username'
"""

_AUDIT = audit_sql.insert("secure_audit_log")


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A person's key as it is stored. `wrapped_key` is None once it is destroyed."""

    id: uuid.UUID
    state: str
    wrapping_key_id: uuid.UUID | None
    wrapped_key: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubjectKey:
    """A person's key that is to be stored, wrapped under `kek_id`."""

    id: uuid.UUID
    organization_id: uuid.UUID
    subject_id: uuid.UUID
    kek_id: uuid.UUID
    wrapped_key: bytes = field(repr=False)
    originator: timedelta
    recipient: timedelta


class SubjectStore:
    """Reads, makes and shreds the keys of persons."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def key(self, organization_id: uuid.UUID, subject_id: uuid.UUID) -> SubjectKey | None:
        """Newest key of a person; None before the first."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_READ, {"organization_id": organization_id, "subject": str(subject_id)})
            row = await cursor.fetchone()
            return SubjectKey(row[0], row[1], row[2], bytes(row[3]) if row[3] is not None else None) if row else None

    async def insert(self, new: NewSubjectKey, audit: AuditRecord) -> bool:
        """Store a key; False when one stands, the person is erased, or the wrapping key is no longer active."""
        values = {
            "id": new.id,
            "organization_id": new.organization_id,
            "subject_id": new.subject_id,
            "subject": str(new.subject_id),
            "label": _label(new.subject_id),
            "kek_id": new.kek_id,
            "wrapped_key": new.wrapped_key,
            "originator": new.originator,
            "recipient": new.recipient,
        }
        async with self._database.transaction() as connection:
            held = await connection.execute(_FENCE, {"kek_id": new.kek_id})
            inserted = await connection.execute(_INSERT, values) if held.rowcount else None
            if inserted is None or not inserted.rowcount:
                return False
            await self._audit(connection, audit)
            return True

    async def shred(
        self, stone: Tombstone, *, key_id: uuid.UUID, names: Sequence[str], audit: AuditRecord, override_hold: bool
    ) -> bool:
        """Destroy every key of a person and leave the tombstone, in one transaction. Safe to repeat.

        `key_id` is the id that a first key has; `names` are what they were called, the login name first: requests have
        it as requester. False, and nothing is done, when a key of theirs is under legal hold and `override_hold` does
        not say that the hold is older.
        """
        values = {
            **stone._asdict(),
            "subject": str(stone.subject_id),
            "id": key_id,
            "label": _label(stone.subject_id),
            "username": names[0] if names else None,
            "named": [_whole_word(name) for name in names],
        }
        async with self._database.transaction() as connection:
            await connection.execute(_PLACEHOLDER, values)
            held = await (await connection.execute(_HOLD, values)).fetchone()
            if held is not None and held[0] and not override_hold:
                return False
            await connection.execute(_DEACTIVATE, values)
            destroyed = await connection.execute(_DESTROY, values)
            for statement in _FORGET:
                await connection.execute(statement.encode(), values)
            written = await connection.execute(tombstones.INSERT, values)
            if destroyed.rowcount or written.rowcount:
                await self._audit(connection, audit)
            return True

    async def tombstones(self) -> Sequence[Tombstone]:
        """Every tombstone, oldest first."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(tombstones.SELECT)
            return [Tombstone(*row) for row in await cursor.fetchall()]

    async def requesters(self, organization_id: uuid.UUID) -> set[str]:
        """Login names, in lower case, that requests, revocations and rotations of an organization have."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_REQUESTERS, {"organization_id": organization_id})
            return {row[0] for row in await cursor.fetchall()}

    async def unshredded(self, subjects: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        """Which of these persons have a key that opens something."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT subject_reference::uuid FROM encryption_keys WHERE purpose = 'subject-shred'"
                " AND state <> 'destroyed' AND subject_reference = ANY(%(subjects)s)",
                {"subjects": [str(subject) for subject in subjects]},
            )
            return {row[0] for row in await cursor.fetchall()}

    async def _audit(self, connection: Connection, record: AuditRecord) -> None:
        await connection.execute(_AUDIT, audit_sql.parameters(record, origin=self._origin, version=self._version))


def _label(subject_id: uuid.UUID) -> str:
    return f"clm-subject-{subject_id}"


def _whole_word(name: str) -> str:
    """A regular expression of PostgreSQL for a name that stands by itself."""
    literal = "".join(letter if letter.isalnum() else f"\\{letter}" for letter in name)
    return f"(^|[^[:alnum:]]){literal}([^[:alnum:]]|$)"
