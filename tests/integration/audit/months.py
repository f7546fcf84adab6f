"""Months of a log that are over, and their archives."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING

from clm.audit.archive import Archive, partition_of, write_archive
from clm.audit.manifest import manifest_sha256
from clm.audit.trust import Trust
from clm.storage.ledger import drop_archived_partition, open_ledger, record_archive

if TYPE_CHECKING:
    from pathlib import Path

    from clm.audit.checkpoint import Checkpoint
    from tests.integration.audit.conftest import Log

MONTH = date(2026, 1, 1)
NEXT = date(2026, 2, 1)
PARTITION = "secure_audit_log_2026_01"


def put_at(log: Log, moment: str, object_id: str) -> None:
    """Put a record there that claims to be of that time."""
    log.query(
        f"INSERT INTO {log.table} (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id)"
        " VALUES (%s, gen_random_uuid(), 'system', 'test', 'key.generate', 'key', %s)",
        moment,
        object_id,
    )


def archived(
    log: Log,
    folder: Path,
    month: date = MONTH,
    *,
    keys: list[bytes] | None = None,
    anchor: Checkpoint | None = None,
    recorded: bool = True,
    witnessed: bool = True,
) -> Archive:
    """Archive a month, put that on record, and have the record sealed."""
    dsn = log.as_role("clm_archiver")
    with open_ledger(dsn, log.ledger) as ledger:
        partition = partition_of(ledger, month)
        archive = asyncio.run(
            write_archive(
                ledger,
                month,
                folder,
                signer=log.signer,
                origin=log.origin,
                trust=Trust.of([log.signer.spki] if keys is None else keys, None),
                anchor=anchor,
            )
        )
    if recorded:
        record_archive(dsn, archive.row(partition))
        if witnessed:
            log.seal()
    return archive


def dropped(log: Log, archive: Archive, month: date = MONTH) -> int:
    """Drop a month as the archiver does; gives the number of records."""
    return drop_archived_partition(log.as_role("clm_archiver"), month, manifest_sha256=manifest_sha256(archive.note))
