"""Opens what a command needs of the world outside, and lets go of it again."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.cluster.session import load_credentials
from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.key_acts import Actor, KeyActs
from clm.lifecycle.revoke import Revoker
from clm.storage.core.metadata import MetadataStore
from clm.storage.core.revocations import AnnouncementStore
from clm.storage.secure.destruction import PrivateKeyDestruction
from clm.storage.secure.history import HistoryStore
from clm.storage.secure.key_acts import KeyActStore
from clm.storage.secure.outbox import OutboxStore
from clm.storage.secure.revocations import RevocationStore
from clm.wiring.outside import Dependencies, open_database, open_dependencies, open_token
from clm.wiring.process import writer

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from clm.hsm.token import Token
    from clm.settings import Settings
    from clm.storage.database import Database


@dataclass(frozen=True, slots=True)
class Databases:
    """Both databases, started."""

    secure: Database
    core: Database


def key_store(secure: Database) -> KeyActStore:
    """Give what reads keys with their dependents, and changes their states."""
    return KeyActStore(secure, **writer())


def key_acts(secure: Database, *, actor: Actor) -> KeyActs:
    """Wire the acts on keys."""
    return KeyActs(store=key_store(secure), boundary=no_boundary, actor=actor)


def leaf_keys(secure: Database) -> PrivateKeyDestruction:
    """Give what destroys stored private keys."""
    return PrivateKeyDestruction(secure, **writer())


@dataclass(frozen=True, slots=True)
class RevocationParts:
    """What finds, records and announces revocations."""

    store: RevocationStore
    announcements: AnnouncementStore
    revoker: Revoker


def revocation_parts(databases: Databases, *, cluster_id: uuid.UUID) -> RevocationParts:
    """Wire what revokes, over both databases alone."""
    store, announcements = RevocationStore(databases.secure, **writer()), AnnouncementStore(databases.core, **writer())
    revoker = Revoker(
        store=store,
        announcements=announcements,
        metadata=MetadataStore(databases.core, **writer()),
        history=HistoryStore(databases.secure, cluster_id=cluster_id),
        outbox=OutboxStore(databases.secure, cluster_id=cluster_id),
        boundary=no_boundary,
    )
    return RevocationParts(store, announcements, revoker)


@asynccontextmanager
async def everything(settings: Settings) -> AsyncIterator[Dependencies]:
    """Lend token, databases and cluster. Raises an Unavailable or HsmError when one cannot be reached."""
    dependencies = open_dependencies(settings, await load_credentials())
    try:
        await dependencies.secure.start()
        await dependencies.core.start()
        await dependencies.token.start()
        yield dependencies
    finally:
        await dependencies.close()


@asynccontextmanager
async def both_databases(settings: Settings) -> AsyncIterator[Databases]:
    """Lend the two databases alone."""
    async with AsyncExitStack() as stack:
        databases = Databases(open_database(settings, "secure"), open_database(settings, "core"))
        for database in (databases.secure, databases.core):
            stack.push_async_callback(database.close)
            await database.start()
        yield databases


@asynccontextmanager
async def the_token(settings: Settings) -> AsyncIterator[Token]:
    """Lend the token, logged in. Raises HsmUnavailable, PinRejected, TokenMismatch, HsmError."""
    token = open_token(settings)
    try:
        await token.start()
        yield token
    finally:
        await token.close()
