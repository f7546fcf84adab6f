"""What the tests of the life of data act with: both databases as the operator, and a token with a KEK."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.key_acts import Actor, KeyActs
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.subjects import SubjectVault
from clm.resources.records import HsmKeyRow, Owner
from clm.storage.database import Database
from clm.storage.secure.key_acts import KeyActStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.subjects import SubjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair
    from tests.fix_token import TokenStore

    T = TypeVar("T")

ORGANIZATION = uuid.UUID(int=7)
AUDIT = {"origin": "test", "version": "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts, wired."""

    secure: Database
    core: Database
    token: Token
    keys: KeyStore
    hsm_keys: HsmKeys
    keyring: Keyring
    acts: KeyActStore
    vault: SubjectVault

    def key_acts(self, boundary: Boundary = no_boundary) -> KeyActs:
        """Acts on keys, with a boundary of their own."""
        return KeyActs(store=self.acts, boundary=boundary, actor=Actor("account:test"))

    async def ca_key(self, name: str = "root") -> HsmKeyRow:
        """Make an active CA key."""
        return await self.hsm_keys.ensure(
            HsmKeyRow(
                id=uuid.uuid4(),
                organization_id=ORGANIZATION,
                purpose="ca-signing",
                algorithm="ECDSA-256",
                version=1,
                label=f"clm-ca-{name}",
                state="generating",
                owner=Owner(uuid.UUID(int=3), uuid.uuid4(), "clm-system", name),
            )
        )


@dataclass(frozen=True, slots=True)
class Site:
    """Two databases and a token."""

    databases: DatabasePair
    store: TokenStore

    def do(self, act: Callable[[Parts], Coroutine[Any, Any, T]]) -> T:
        """Run `act` with everything started, in an event loop of its own."""

        async def with_parts() -> T:
            async with self._parts() as parts:
                return await act(parts)

        return asyncio.run(with_parts())

    def query(self, database: DatabaseName, statement: str, **parameters: object) -> list[dict[str, Any]]:
        """Run one statement as the superuser."""
        with psycopg.connect(
            self.databases.superuser_dsn(database), autocommit=True, row_factory=dict_row
        ) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def actions(self, database: DatabaseName, object_id: object) -> list[str]:
        """Acts on an object that are on the record, oldest first."""
        log = {"secure": "secure_audit_log", "core": "audit_log"}[database]
        statement = f"SELECT action FROM {log} WHERE object_id = %(id)s ORDER BY occurred_at"
        return [row["action"] for row in self.query(database, statement, id=str(object_id))]

    @asynccontextmanager
    async def _parts(self) -> AsyncIterator[Parts]:
        secure = Database(self.databases.secure, name="clm_secure_db", connections=2)
        core = Database(self.databases.core, name="clm_core_db", connections=2)
        async with self.store.opened() as token:
            await secure.start()
            await core.start()
            try:
                keys = KeyStore(secure, **AUDIT)
                hsm_keys = HsmKeys(token=token, store=keys, boundary=no_boundary)
                keyring = Keyring(keys=hsm_keys, store=keys)
                await keyring.open()
                vault = SubjectVault(token=token, keyring=keyring, store=SubjectStore(secure, **AUDIT))
                acts = KeyActStore(secure, **AUDIT)
                yield Parts(
                    secure=secure,
                    core=core,
                    token=token,
                    keys=keys,
                    hsm_keys=hsm_keys,
                    keyring=keyring,
                    acts=acts,
                    vault=vault,
                )
            finally:
                await secure.close()
                await core.close()
