"""Rows of encryption_keys: every key in the token has one before it exists."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from clm.resources.key_states import DESTRUCTION_BEGUN
from clm.resources.records import HsmKeyRow, Owner
from clm.storage import audit_sql

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import timedelta

    from clm.resources.audit import AuditRecord
    from clm.resources.key_states import Cryptoperiod
    from clm.resources.records import KeyPurpose
    from clm.storage.database import Connection, Database

_COLUMNS = """
id, organization_id, purpose, algorithm, version, label, state, cluster_id, resource_uid, namespace, name,
token_serial, spki, check_value, state_reason
"""

_INSERT = """
INSERT INTO encryption_keys
    (id, organization_id, purpose, algorithm, version, label, state, cluster_id, resource_uid, namespace, name,
     wrap_algorithm)
VALUES
    (%(id)s, %(organization_id)s, %(purpose)s, %(algorithm)s, %(version)s, %(label)s, 'generating',
     %(cluster_id)s, %(resource_uid)s, %(namespace)s, %(name)s, %(wrap_algorithm)s)
ON CONFLICT DO NOTHING
"""

_ACTIVATE = """
UPDATE encryption_keys
SET state = 'active', activated_at = now(), token_label = %(token_label)s, token_serial = %(token_serial)s,
    token_uri = %(token_uri)s, spki = %(spki)s, spki_sha256 = %(spki_sha256)s, check_value = %(check_value)s,
    attributes = %(attributes)s, oup_ends_at = now() + %(originator)s, rup_ends_at = now() + %(recipient)s
WHERE id = %(id)s AND state = 'generating'
"""

_DISCARD = """
UPDATE encryption_keys SET state = 'destroyed', destroyed_at = now(), state_reason = %(reason)s
WHERE id = %(id)s AND state = 'generating'
"""

# Namespace and name find the key of an object that was created again after a restore.
_OWNED = f"""
SELECT {_COLUMNS} FROM encryption_keys
WHERE purpose = 'ca-signing' AND cluster_id = %(cluster_id)s AND deleted_at IS NULL
  AND state <> 'destroyed'
  AND (resource_uid = %(resource_uid)s OR (namespace = %(namespace)s AND name = %(name)s))
ORDER BY (resource_uid = %(resource_uid)s) DESC, version DESC, created_at DESC
LIMIT 1
"""  # noqa: S608 - constants only

_OF_PURPOSE = f"""
SELECT {_COLUMNS} FROM encryption_keys
WHERE purpose = %(purpose)s AND organization_id = %(organization_id)s AND deleted_at IS NULL
  AND state IN ('generating', 'active')
ORDER BY version DESC
"""  # noqa: S608 - constants only

_UNFINISHED = f"""
SELECT {_COLUMNS} FROM encryption_keys
WHERE purpose = 'ca-signing' AND cluster_id = %(cluster_id)s AND state = 'generating'
  AND created_at < now() - %(older_than_s)s * interval '1 second'
ORDER BY created_at
"""  # noqa: S608 - constants only

# Also of keys that are destroyed: a restored object has the uid, and would derive the id, of one that was.
_NEXT_VERSION = """
SELECT coalesce(max(version), 0) + 1 FROM encryption_keys
WHERE purpose = 'ca-signing' AND cluster_id = %(cluster_id)s AND resource_uid = %(resource_uid)s
"""

_STUCK = """
SELECT id FROM encryption_keys
WHERE (state = 'generating' AND created_at < now() - %(older_than)s)
   OR (state <> 'destroyed' AND starts_with(state_reason, %(begun)s) AND updated_at < now() - %(older_than)s)
"""

_LOCK = f"SELECT {_COLUMNS} FROM encryption_keys WHERE id = %(id)s FOR UPDATE"  # noqa: S608

_AUDIT = audit_sql.insert("secure_audit_log")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What the token answered about a key that it has just made."""

    token_label: str
    token_serial: str
    token_uri: str
    attributes: Mapping[str, bool]
    spki: bytes | None
    check_value: bytes | None
    period: Cryptoperiod


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A row that nobody else can change meanwhile."""

    row: HsmKeyRow
    activate: Callable[[NewKey, AuditRecord], Awaitable[None]]
    discard: Callable[[str, AuditRecord], Awaitable[None]]


class KeyStore:
    """Reads and writes the record of the keys in the token."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def insert_generating(self, row: HsmKeyRow, audit: AuditRecord, *, wrap_algorithm: str | None = None) -> None:
        """Write down that a key of this id is about to be made. Does nothing where the row stands."""
        owner = row.owner
        async with self._database.transaction() as connection:
            inserted = await connection.execute(
                _INSERT,
                {
                    "id": row.id,
                    "organization_id": row.organization_id,
                    "purpose": row.purpose,
                    "algorithm": row.algorithm,
                    "version": row.version,
                    "label": row.label,
                    "cluster_id": owner.cluster_id if owner else None,
                    "resource_uid": owner.resource_uid if owner else None,
                    "namespace": owner.namespace if owner else None,
                    "name": owner.name if owner else None,
                    "wrap_algorithm": wrap_algorithm,
                },
            )
            if inserted.rowcount:
                await self._audit(connection, audit)

    @asynccontextmanager
    async def locked(self, key_id: uuid.UUID) -> AsyncIterator[LockedKey | None]:
        """Hold the key's row while the token is worked on, so that no second process makes or removes its key.

        The transaction that holds it also activates it: when the connection is lost the lock and the activation go
        together. Yields None where no such row stands.
        """
        async with self._database.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            # The token may take minutes over a large key; the lock must not be lost meanwhile.
            await cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await cursor.execute(_LOCK.encode(), {"id": key_id})
            row = await cursor.fetchone()
            if row is None:
                yield None
                return

            async def activate(new: NewKey, audit: AuditRecord) -> None:
                await connection.execute(
                    _ACTIVATE,
                    {
                        "id": key_id,
                        "token_label": new.token_label,
                        "token_serial": new.token_serial,
                        "token_uri": new.token_uri,
                        "spki": new.spki,
                        "spki_sha256": hashlib.sha256(new.spki).digest() if new.spki else None,
                        "check_value": new.check_value,
                        "attributes": Jsonb(dict(new.attributes)),
                        "originator": new.period.originator,
                        "recipient": new.period.recipient,
                    },
                )
                await self._audit(connection, audit)

            async def discard(reason: str, audit: AuditRecord) -> None:
                await connection.execute(_DISCARD, {"id": key_id, "reason": reason})
                await self._audit(connection, audit)

            yield LockedKey(_row(row), activate, discard)

    async def owned_by(self, owner: Owner) -> HsmKeyRow | None:
        """CA key of a Certificate object that is not destroyed, by uid or else by namespace and name."""
        rows = await self._rows(_OWNED, owner._asdict())
        return rows[0] if rows else None

    async def next_version(self, owner: Owner) -> int:
        """Version of the next CA key of this very object."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_NEXT_VERSION, owner._asdict())
            row = await cursor.fetchone()
            return int(row[0]) if row else 1

    async def unfinished(self, *, cluster_id: uuid.UUID, older_than_s: float) -> list[HsmKeyRow]:
        """CA keys of one cluster that have been `generating` for that long."""
        return await self._rows(_UNFINISHED, {"cluster_id": cluster_id, "older_than_s": older_than_s})

    async def of_purpose(self, purpose: KeyPurpose, organization_id: uuid.UUID) -> list[HsmKeyRow]:
        """Every living key of one purpose, newest version first."""
        return await self._rows(_OF_PURPOSE, {"purpose": purpose, "organization_id": organization_id})

    async def get(self, key_id: uuid.UUID) -> HsmKeyRow | None:
        """Read the row of one key."""
        rows = await self._rows(f"SELECT {_COLUMNS} FROM encryption_keys WHERE id = %(id)s", {"id": key_id})  # noqa: S608
        return rows[0] if rows else None

    async def all_rows(self) -> list[HsmKeyRow]:
        """Every row, whatever its state: what the token's objects are compared with."""
        return await self._rows(f"SELECT {_COLUMNS} FROM encryption_keys ORDER BY created_at", {})  # noqa: S608

    async def stuck(self, *, older_than: timedelta) -> set[uuid.UUID]:
        """Keys whose making or destruction has begun so long ago, and not ended."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_STUCK, {"older_than": older_than, "begun": DESTRUCTION_BEGUN})
            return {row[0] for row in await cursor.fetchall()}

    async def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[HsmKeyRow]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(query.encode(), parameters)
            return [_row(row) for row in await cursor.fetchall()]

    async def _audit(self, connection: Connection, record: AuditRecord) -> None:
        await connection.execute(_AUDIT, audit_sql.parameters(record, origin=self._origin, version=self._version))


def _row(row: dict[str, Any]) -> HsmKeyRow:
    owner = (row.pop("cluster_id"), row.pop("resource_uid"), row.pop("namespace"), row.pop("name"))
    for name in ("spki", "check_value"):
        row[name] = bytes(row[name]) if row[name] is not None else None
    return HsmKeyRow(owner=Owner(*owner) if owner[1] is not None else None, **row)
