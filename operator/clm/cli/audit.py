"""`clm audit`: verification, search, proofs and archives of the audit logs."""

from __future__ import annotations

import asyncio
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from clm.audit.checkpoint import Checkpoint, public_pem
from clm.audit.dump import export as write_export
from clm.audit.proof import check_proof, make_proof
from clm.audit.search import Query
from clm.audit.search import search as find
from clm.cli.audit_archive import archive
from clm.cli.audit_options import (
    anchors_from,
    database_option,
    dsn_of,
    dsn_option,
    errors_told,
    keys_from,
    ledgers_of,
    output_option,
    public_key_option,
)
from clm.cli.audit_resume import resume
from clm.cli.audit_verify import verify
from clm.cli.tables import listing, print_listing
from clm.errors import AuditFailed, InvalidInput
from clm.resources.seals import DATABASES, LEDGERS
from clm.storage.ledger import open_ledger

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from clm.resources.seals import LedgerName

_REASON = 100
"""Characters of a reason in a table; `-o json` has all of it."""


@click.group()
def audit() -> None:
    """Verify, search, prove and archive the audit logs."""


audit.add_command(verify)
audit.add_command(archive)
audit.add_command(resume)


@audit.command()
@database_option
@dsn_option
@click.option("--action", help="Such as certificate.issue; key.* for all of a kind.")
@click.option("--type", "object_type", help="Kind of object, such as key or certificate.")
@click.option("--object", "object_id", help="Id of the object; a start of it with * at the end.")
@click.option("--actor", help="Id of the actor.")
@click.option("--outcome", type=click.Choice(["success", "failure", "denied"]))
@click.option("--since", help="From this time on (ISO 8601; UTC where it has no zone).")
@click.option("--until", help="Up to this time.")
@click.option("--text", help="Anywhere in object, reason or details, in upper or lower case.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@output_option
@errors_told
def search(
    *,
    database: LedgerName | None,
    dsn: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    output: str,
    **filters: str | None,
) -> None:
    """Find records, newest first."""
    query = Query(since=_moment("--since", since), until=_moment("--until", until), **filters)
    found: list[dict[str, Any]] = []
    for ledger in ledgers_of(database):
        rows = find(dsn_of(ledger, database, dsn), ledger, query, limit=limit)
        found += [{"database": DATABASES[ledger], **row} for row in rows]
    found = sorted(found, key=lambda row: row["occurred_at"], reverse=True)[:limit]
    if output == "json":
        click.echo(json.dumps([_readable(row) for row in found], indent=2, default=str))
    else:
        _print(found)


@audit.command()
@click.option("--database", type=click.Choice(LEDGERS), required=True, help="Which log.")
@dsn_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@errors_told
def export(*, database: LedgerName, dsn: str | None, file: Path) -> None:
    """Write a log with its seals into FILE, for `clm audit verify --dump`; gzipped where it ends with .gz."""
    with open_ledger(dsn_of(database, database, dsn), database) as ledger, file.open("wb") as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile(fileobj=raw, mode="wb") as packed:
                number = write_export(ledger, packed)
        else:
            number = write_export(ledger, raw)
    click.echo(f"{number} records written to {file}")


@audit.command()
@database_option
@dsn_option
@public_key_option
@click.option("--check", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Check a proof.")
@click.option("--anchor", help="With --check: file or configmap with the public key.")
@click.argument("record", type=click.UUID, required=False)
@errors_told
def proof(
    *,
    database: LedgerName | None,
    dsn: str | None,
    public_key: tuple[Path, ...],
    file: Path | None,
    anchor: str | None,
    record: uuid.UUID | None,
) -> None:
    """Prove that RECORD is in the log, for somebody who has only the public key; or check such a proof."""
    if (file is None) == (record is None):
        raise click.UsageError("give either the id of a record, or --check with a proof")
    if file is not None:
        anchors = asyncio.run(anchors_from(anchor)) if anchor is not None else {}
        keys = keys_from(public_key, anchors)
        if not keys:
            raise click.UsageError("--check needs --public-key, or --anchor with a public key")
        _check(json.loads(file.read_text(encoding="utf-8")), keys)
        return
    for ledger_name in ledgers_of(database):
        with open_ledger(dsn_of(ledger_name, database, dsn), ledger_name) as ledger:
            if record is not None and ledger.record(record) is not None:
                click.echo(json.dumps(make_proof(ledger, record), indent=2))
                return
    raise AuditFailed(f"there is no record {record}")


@audit.command("public-key")
@database_option
@dsn_option
@errors_told
def print_public_key(*, database: LedgerName | None, dsn: str | None) -> None:
    """Print the public keys that seals were signed with, in PEM.

    Keep them elsewhere, and compare them with the token's: who can write the database could put another key there.
    """
    printed: set[bytes] = set()
    for ledger_name in ledgers_of(database):
        with open_ledger(dsn_of(ledger_name, database, dsn), ledger_name) as ledger:
            for key_id, spki in ledger.keys().items():
                if spki not in printed:
                    click.echo(f"# {key_id}\n{public_pem(spki)}", nl=False)
                printed.add(spki)
    if not printed:
        raise AuditFailed("nothing has been sealed yet")


def _check(given: Mapping[str, Any], keys: list[bytes]) -> None:
    proven = check_proof(given, keys=keys)
    checkpoint: Checkpoint = proven.checkpoint
    record = proven.record
    click.echo(
        f"Record {record['id']} is in batch {checkpoint.batch} of {checkpoint.origin.database}, sealed at"
        f" {checkpoint.sealed_at:%Y-%m-%d %H:%M:%S} UTC: at {record['occurred_at']} {record['actor_type']}"
        f" {record['actor_id']} did {record['action']} to {record['object_type']} {record['object_id']}"
        f" ({record['outcome']})."
    )


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(option, f"{text!r} is no time in ISO 8601") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what only the proof needs."""
    shown = {name: value for name, value in row.items() if name != "details_canonical" and value is not None}
    return {**shown, "occurred_at": row["occurred_at"].astimezone(UTC).isoformat()}


def _print(rows: list[dict[str, Any]]) -> None:
    table = listing("Time (UTC)", "Action", "Object", "Actor", "Outcome", "Reason", "Record")
    for row in rows:
        table.add_row(
            f"{row['occurred_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            row["action"],
            f"{row['object_type']} {row['object_id']}",
            row["actor_id"],
            row["outcome"],
            shorten(row["reason"] or "", _REASON, placeholder=" …"),
            str(row["id"]),
        )
    print_listing(table)
