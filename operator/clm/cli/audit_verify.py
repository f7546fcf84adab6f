"""`clm audit verify`: the proof that the logs are what was sealed."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from clm.audit.anchor import anchor_of, ends_of, given_up_of
from clm.audit.covered import prove_archives
from clm.audit.dump import open_dump
from clm.audit.source import DatabaseSource
from clm.audit.verify import verify as prove
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
from clm.errors import RecordUnreadable
from clm.resources.seals import DATABASES, LEDGERS
from clm.storage.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from clm.audit.report import Report
    from clm.audit.source import Source
    from clm.resources.seals import LedgerName

_FOUND = 1
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@database_option
@dsn_option
@click.option("--dump", type=_FILE, help="Verify a file of `clm audit export`, or a plain-text pg_dump, offline.")
@click.option("--anchor", help="Newest checkpoints from outside the database: a file, or the word configmap.")
@public_key_option
@click.option("--archive", "archives", type=_FOLDER, help="Prove the archives on record from this folder, too.")
@output_option
@errors_told
def verify(
    *,
    database: LedgerName | None,
    dsn: str | None,
    dump: Path | None,
    anchor: str | None,
    public_key: tuple[Path, ...],
    archives: Path | None,
    output: str,
) -> None:
    """Find any record that was changed, removed, inserted or moved since it was sealed.

    Exits with 1 when there is one, and when --anchor was given and says nothing of a log, or gives no key. That nothing
    was cut off at the end, or rolled back, only --anchor can tell; and only with a --public-key (or the anchor's) does
    the proof not rest on the database itself.
    """
    anchors = asyncio.run(anchors_from(anchor)) if anchor is not None else {}
    keys = keys_from(public_key, anchors)
    reports = []
    for source in _sources(database, dsn, dump):
        with source as opened:
            name = opened.database
            report = prove(opened, keys=keys, anchor=anchor_of(anchors, name), ends=ends_of(anchors, name))
            report.given_up = [given.note for given in given_up_of(anchors, name)]
            if anchor is not None:
                _require_outside(report)
            if archives is not None:
                prove_archives(opened, archives, keys or list(opened.keys().values()), report)
            reports.append(report)
    if output == "json":
        click.echo(json.dumps([report.as_json() for report in reports], indent=2))
    else:
        for report in reports:
            _print(Console(), report)
    if any(report.found for report in reports):
        raise SystemExit(_FOUND)


def _require_outside(report: Report) -> None:
    """Who gives an anchor wants a proof that does not rest on the database: half of one is none."""
    if report.anchored is None:
        report.add("--anchor says nothing of this log: it may have been removed there, and the log cut or replaced")
    if report.keys_from_source:
        report.add("neither --anchor nor --public-key gives a public key: whoever wrote the log may have forged it all")


def _sources(
    database: LedgerName | None, dsn: str | None, dump: Path | None
) -> Iterator[AbstractContextManager[Source]]:
    if dump is not None:
        yield _dumped(dump, database)
        return
    for ledger in ledgers_of(database):
        yield _live(dsn_of(ledger, database, dsn), ledger)


@contextmanager
def _live(dsn: str, ledger: LedgerName) -> Iterator[Source]:
    with open_ledger(dsn, ledger) as opened:
        yield DatabaseSource(opened)


@contextmanager
def _dumped(dump: Path, database: LedgerName | None) -> Iterator[Source]:
    ledger = database or _which(dump)
    with open_dump(dump, DATABASES[ledger]) as opened:
        yield opened


def _which(dump: Path) -> LedgerName:
    """Whose log a file holds, where nobody says it."""
    error: RecordUnreadable | None = None
    for ledger in LEDGERS:
        try:
            with open_dump(dump, DATABASES[ledger]):
                return ledger
        except RecordUnreadable as wrong:
            error = wrong
    raise error or RecordUnreadable("there is nothing in the file")


def _print(console: Console, report: Report) -> None:
    newest = report.newest
    sealed = f"{report.batches} batches" + (
        f", the newest of {newest.sealed_at:%Y-%m-%d %H:%M:%S} UTC" if newest else ""
    )
    console.print(f"[bold]{report.database}[/bold]: {report.records} records, {report.archived} archived; {sealed}")
    if report.unsealed:
        console.print(f"  {report.unsealed} records are not sealed yet, the oldest of {report.unsealed_since}")
    if report.keys_from_source:
        console.print("  [yellow]The public key was taken from what is to be proven: give --public-key.[/yellow]")
    if report.anchored is None:
        console.print(
            "  [yellow]Without an anchor nobody can tell whether the end was cut off: give --anchor.[/yellow]"
        )
    else:
        console.print(f"  Anchored: batch {report.anchored.batch}")
    if report.given_up:
        console.print(
            f"  [yellow]{len(report.given_up)} anchors were given up when a restored log was accepted: see action"
            " audit.resume.[/yellow]"
        )
    if not report.found:
        console.print("  [green]Everything is as it was sealed.[/green]")
        return
    console.print(f"  [red]{report.found} problems:[/red]")
    table = Table("Batch", "Position", "Record", "Problem")
    for problem in report.problems:
        cells = (problem.batch, problem.position, problem.record)
        table.add_row(*("" if cell is None else str(cell) for cell in cells), problem.what)
    console.print(table)
