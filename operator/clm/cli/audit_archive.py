"""`clm audit archive` and `clm audit resume`: the two acts on the audit log itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clm.audit.archive import partition_of, read_archive, write_archive
from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.audit.manifest import manifest_sha256
from clm.audit.signer import TokenSigner
from clm.cli.actor import the_actor
from clm.cli.audit_options import dsn_of, dsn_option, errors_told
from clm.cli.dependencies import everything, the_token
from clm.cluster.anchors import AnchorStore
from clm.errors import AuditFailed, InvalidInput
from clm.resources.audit import AuditRecord
from clm.resources.seals import DATABASES, LEDGERS
from clm.settings import SYSTEM_ORGANIZATION, Settings, settings_from_environment
from clm.storage.ledger import drop_archived_partition, open_ledger, record_archive
from clm.storage.records import RecordStore
from clm.storage.seals import SealStore

if TYPE_CHECKING:
    from clm.audit.archive import Archive
    from clm.factory import Dependencies
    from clm.lifecycle.key_acts import Actor
    from clm.resources.seals import LedgerName
    from clm.storage.ledger import Ledger

_TRIES = 20
_TRY_AGAIN_S = 0.25

_database = click.option("--database", type=click.Choice(LEDGERS), required=True, help="Which log.")


@click.command()
@_database
@dsn_option
@click.option("--month", required=True, help="Month to archive, such as 2026-03.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
@click.option("--drop", is_flag=True, help="Then drop the month from the database.")
@errors_told
def archive(*, database: LedgerName, dsn: str | None, month: str, folder: Path, drop: bool) -> None:
    """Write a month of a log into signed files, read them back, and record that; with --drop drop it then.

    May be repeated: what stands is proven again. The DSN is the archiver's; the token's settings are CLM_* variables.
    """
    first = _month(month)
    target = dsn_of(database, database, dsn)
    settings = settings_from_environment(os.environ)
    written = asyncio.run(_archive(settings, database, target, first, folder))
    click.echo(f"{written.manifest.records} records of {month} are in {written.folder}, and read back")
    if drop:
        number = drop_archived_partition(target, first, manifest_sha256=manifest_sha256(written.note))
        click.echo(f"{number} records were dropped from {DATABASES[database]}")


@click.command()
@_database
@click.option("--reason", required=True, help="Why: what was restored, from when, by whose order. It is recorded.")
@click.confirmation_option(prompt="Records after the restored ones are lost then. Accept the shorter log?")
@errors_told
def resume(*, database: LedgerName, reason: str) -> None:
    """Accept a log that is behind its anchor, after a restore: sealing goes on from there.

    Settings are the operator's CLM_* variables. The anchor that is given up stays in the ConfigMap, and on record.
    """
    click.echo(asyncio.run(_resume(settings_from_environment(os.environ), database, reason)))


async def _archive(settings: Settings, database: LedgerName, dsn: str, month: date, folder: Path) -> Archive:
    with open_ledger(dsn, database) as ledger:
        keys = list(ledger.keys().values())
        on_record = next((row for row in ledger.archives() if row.month == month), None)
        target = folder / f"{DATABASES[database]}-{month:%Y-%m}"
        if target.exists():
            written = read_archive(target, keys=keys)
        elif on_record is not None:
            raise AuditFailed(f"{month:%Y-%m} is archived in {on_record.location}, and not in {folder}")
        else:
            written = await _write(settings, ledger, month, folder)
        partition = partition_of(ledger, month)
    if on_record is None:
        spki = next(key for key in keys if hashlib.sha256(key).digest()[:4] == written.note.key_hash)
        record_archive(dsn, written.row(partition), spki=spki)
    elif on_record.manifest != str(written.note):
        raise AuditFailed(f"the archive in {written.folder} is another than the one on record")
    return written


async def _write(settings: Settings, ledger: Ledger, month: date, folder: Path) -> Archive:
    """Sign with the key that signs the seals; origin and key are those of the newest one."""
    *_, newest = [None, *ledger.seals(first=ledger.last_batch())]
    if newest is None:
        raise AuditFailed("nothing is sealed yet")
    keys = ledger.keys()
    checkpoint = Checkpoint.parse(SignedNote.parse(newest.note).text)
    async with the_token(settings) as token:
        signer = TokenSigner(token, newest.key_id, keys[newest.key_id])
        return await write_archive(
            ledger, month, folder, signer=signer, origin=checkpoint.origin, keys=list(keys.values())
        )


async def _resume(settings: Settings, database: LedgerName, reason: str) -> str:
    async with everything(settings) as dependencies:
        anchors = AnchorStore(dependencies.client, namespace=settings.namespace)
        standing, name = await anchors.read(), DATABASES[database]
        given_up = standing.data.get(name)
        if given_up is None:
            raise AuditFailed(f"{name} has no anchor")
        lost = Checkpoint.parse(SignedNote.parse(given_up).text)
        store = dependencies.secure if database == "secure" else dependencies.core
        notes = await _notes(SealStore(store, database), lost.batch)
        if any(SignedNote.parse(note).text == lost.text() for _, note in notes):
            raise AuditFailed(f"{name} is not behind its anchor")
        actor = await the_actor(settings, secure=dependencies.secure, core=dependencies.core, token=dependencies.token)
        await _record(dependencies, database, lost, reason, actor=actor, newest=notes[0][0] if notes else 0)
        # Null takes the key out of the ConfigMap: a log without any seal has nothing to be anchored.
        newest = notes[0][1] if notes else None
        await anchors.write(standing, {f"{name}.superseded": given_up, name: newest})
    return f"{name}: accepted up to batch {notes[0][0] if notes else 0}; given up: batch {lost.batch}"


async def _notes(store: SealStore, batch: int) -> list[tuple[int, str]]:
    """Read the newest note, and that of a batch, while nobody seals."""
    for _ in range(_TRIES):
        async with store.sealing() as sealing:
            if sealing is not None:
                return await sealing.notes(batch)
        await asyncio.sleep(_TRY_AGAIN_S)
    raise AuditFailed("another process is sealing all the time: try again")


async def _record(
    dependencies: Dependencies, database: LedgerName, lost: Checkpoint, reason: str, *, actor: Actor, newest: int
) -> None:
    store = dependencies.secure if database == "secure" else dependencies.core
    await RecordStore(store, database).record(
        AuditRecord(
            organization_id=SYSTEM_ORGANIZATION,
            action="audit.resume",
            object_type="audit-log",
            object_id=lost.origin.database,
            reason=reason,
            actor_type="user",
            actor_id=actor.id,
            details={**actor.details, "accepted_batch": newest, "given_up": lost.text()},
        )
    )


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise InvalidInput("--month", f"{text!r} is no month such as 2026-03") from None
