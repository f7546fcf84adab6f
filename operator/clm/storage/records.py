"""Audit records of acts that have no row of their own: starts and stops, logins, acts on the log itself."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from clm import __version__
from clm.resources.seals import TABLES
from clm.storage import audit_sql

if TYPE_CHECKING:
    from clm.resources.audit import AuditRecord
    from clm.resources.seals import LedgerName
    from clm.storage.database import Connection, Database


class RecordStore:
    """Writes records into the log of one database."""

    def __init__(self, database: Database, ledger: LedgerName) -> None:
        self._database = database
        self._statement = audit_sql.insert(TABLES[ledger]).encode()

    async def record(self, record: AuditRecord) -> None:
        """Write one record. Durable on return. Raises DatabaseUnavailable, DatabaseUnprepared."""
        async with self._database.connection() as connection:
            await self.record_on(connection, record)

    async def record_on(self, connection: Connection, record: AuditRecord) -> None:
        """Write one record on a connection of the caller's, in the same commit as the act."""
        values = audit_sql.parameters(record, origin=socket.gethostname(), version=__version__)
        await connection.execute(self._statement, values)
