"""Keeps the audit logs from running out of months.

What cannot be made ahead is told, again and again, and tried again; it stops nothing while this month's partition
stands. Without that one no act could be recorded, so none would happen: the start then waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from clm.errors import ClmError, DatabaseUnprepared
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.partitions import PARENTS, ensure_audit_partitions, month_stands
from clm.storage.records import RecordStore

if TYPE_CHECKING:
    from clm.storage.database import Database
    from clm.storage.migration_files import DatabaseName

logger = logging.getLogger(__name__)

_EVERY_S = 6 * 3600.0
_RETRY_S = 60.0


async def prepare_partitions(database: Database, name: DatabaseName) -> bool:
    """Make the months ahead. Returns whether all of them stand; logs why, where it is this month only.

    Raises DatabaseUnprepared when not even this month can be recorded, and DatabaseUnavailable.
    """
    try:
        async with database.transaction() as connection:
            made = await ensure_audit_partitions(connection)
            if made:
                await RecordStore(database, name).record_on(connection, _made(name, made))
    except DatabaseUnprepared as error:
        async with database.connection() as connection:
            if not await month_stands(connection, name):
                raise
        logger.error("audit partitions cannot be made ahead, only this month stands: %s", error)  # noqa: TRY400 - said
        return False
    return True


def _made(name: DatabaseName, partitions: list[str]) -> AuditRecord:
    return AuditRecord(
        organization_id=SYSTEM_ORGANIZATION,
        action="audit.partition",
        object_type="audit-log",
        object_id=PARENTS[name],
        details={"partitions": partitions},
    )


async def keep_partitions(
    databases: dict[DatabaseName, Database], *, interval_s: float = _EVERY_S, retry_s: float = _RETRY_S
) -> None:
    """Make the months ahead, again and again, until cancelled."""
    complete = True
    while True:
        await asyncio.sleep(interval_s if complete else retry_s)
        complete = True
        for name, database in databases.items():
            try:
                complete &= await prepare_partitions(database, name)
            except ClmError as error:
                complete = False
                logger.warning("audit partitions are made later: %s", error)
