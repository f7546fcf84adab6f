"""`clm audit archive`: a month of a log goes into files, and then out of the database."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clm.audit.anchor import anchor_of, checkpoint_of, ends_of
from clm.audit.archive import partition_of, read_archive, write_archive
from clm.audit.checkpoint import Checkpoint, key_hash
from clm.audit.manifest import manifest_sha256
from clm.audit.signer import TokenSigner
from clm.audit.trust import Trust
from clm.cli.audit_options import anchors_from, dsn_of, dsn_option, errors_told, keys_from, public_key_option
from clm.cli.dependencies import the_token
from clm.errors import AuditFailed, InvalidInput
from clm.resources.seals import DATABASES, LEDGERS
from clm.settings import Settings, settings_from_environment
from clm.storage.ledger import archive_is_sealed, drop_archived_partition, open_ledger, record_archive

if TYPE_CHECKING:
    from clm.audit.archive import Archive
    from clm.resources.seals import LedgerName, SealRow
    from clm.storage.ledger import Ledger

_TRIES = 120
_TRY_AGAIN_S = 1.0

_database = click.option("--database", type=click.Choice(LEDGERS), required=True, help="Which log.")


@click.command()
@_database
@dsn_option
@click.option("--month", required=True, help="Month to archive, such as 2026-03.")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
@click.option("--anchor", help="Newest checkpoints and public keys from outside: a file, or the word configmap.")
@public_key_option
@click.option(
    "--drop", is_flag=True, help="Then drop the month from the database, once the archive's record is sealed."
)
@errors_told
def archive(
    *,
    database: LedgerName,
    dsn: str | None,
    month: str,
    folder: Path,
    anchor: str | None,
    public_key: tuple[Path, ...],
    drop: bool,
) -> None:
    """Write a month of a log into signed files, read them back, and record that; with --drop drop it then.

    Before, the seals are proven under the keys of --public-key or --anchor: one of them has to be given. May be
    repeated: what stands is proven again. The DSN is the archiver's; the token's settings are CLM_* variables.
    """
    first = _month(month)
    outside = asyncio.run(_outside(database, anchor, public_key))
    target = dsn_of(database, database, dsn)
    settings = settings_from_environment(os.environ)
    written = asyncio.run(_archive(settings, database, target, first, folder, outside))
    click.echo(f"{written.manifest.records} records of {month} are in {written.folder}, and read back")
    if drop:
        number = _drop(target, first, manifest_sha256(written.note))
        click.echo(f"{number} records were dropped from {DATABASES[database]}")


@dataclass(frozen=True, slots=True)
class _Outside:
    """What is known of the log from elsewhere than the database."""

    trust: Trust
    anchor: Checkpoint | None


async def _outside(database: LedgerName, anchor: str | None, public_key: tuple[Path, ...]) -> _Outside:
    anchors = await anchors_from(anchor) if anchor is not None else {}
    keys, name = keys_from(public_key, anchors), DATABASES[database]
    if not keys:
        raise click.UsageError("give --public-key, or an --anchor with public keys: the database's own prove nothing")
    trust, note = Trust.of(keys, ends_of(anchors, name)), anchor_of(anchors, name)
    if note is None:
        if anchor is not None:
            raise AuditFailed(f"--anchor says nothing of {name}")
        return _Outside(trust, None)
    checkpoint = Checkpoint.parse(note.text)
    trust.check(note, batch=checkpoint.batch)
    return _Outside(trust, checkpoint)


def _drop(dsn: str, month: date, manifest: bytes) -> int:
    """Drop, as soon as the controller has sealed the record of the archive."""
    for _ in range(_TRIES):
        if archive_is_sealed(dsn, month):
            break
        time.sleep(_TRY_AGAIN_S)
    return drop_archived_partition(dsn, month, manifest_sha256=manifest)


async def _archive(
    settings: Settings, database: LedgerName, dsn: str, month: date, folder: Path, outside: _Outside
) -> Archive:
    with open_ledger(dsn, database) as ledger:
        on_record = next((row for row in ledger.archives() if row.month == month), None)
        target = folder / f"{DATABASES[database]}-{month:%Y-%m}"
        if target.exists():
            written = read_archive(target, keys=outside.trust.keys)
        elif on_record is not None:
            raise AuditFailed(f"{month:%Y-%m} is archived in {on_record.location}, and not in {folder}")
        else:
            written = await _write(settings, ledger, month, folder, outside)
        partition, signs = partition_of(ledger, month), _newest(ledger)[1]
    if on_record is None:
        if written.note.key_hash != key_hash(signs):
            raise AuditFailed(f"{written.folder} was signed by a key that no longer seals: remove it, and archive anew")
        record_archive(dsn, written.row(partition))
    elif on_record.manifest != str(written.note):
        raise AuditFailed(f"the archive in {written.folder} is another than the one on record")
    return written


async def _write(settings: Settings, ledger: Ledger, month: date, folder: Path, outside: _Outside) -> Archive:
    """Sign with the key that signs the seals; origin and key are those of the newest one."""
    newest, spki = _newest(ledger)
    origin = outside.anchor.origin if outside.anchor is not None else checkpoint_of(newest.note).origin
    async with the_token(settings) as token:
        signer = TokenSigner(token, newest.key_id, spki)
        return await write_archive(
            ledger, month, folder, signer=signer, origin=origin, trust=outside.trust, anchor=outside.anchor
        )


def _newest(ledger: Ledger) -> tuple[SealRow, bytes]:
    """The newest seal, and the public key that the database names for it."""
    *_, newest = [None, *ledger.seals(first=ledger.last_batch())]
    if newest is None:
        raise AuditFailed("nothing is sealed yet")
    return newest, ledger.keys()[newest.key_id]


def _month(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise InvalidInput("--month", f"{text!r} is no month such as 2026-03") from None
