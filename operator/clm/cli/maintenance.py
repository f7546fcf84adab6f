"""`clm maintenance`: how the two databases are, and what should be done about it."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from clm.cli.dependencies import both_databases
from clm.errors import ClmError
from clm.lifecycle.maintenance import advice
from clm.settings import Settings, settings_from_environment
from clm.storage.maintenance import DatabaseState, read_state

_SHOWN = 8
_ADVISED = 1


@click.group()
def maintenance() -> None:
    """Look after the databases."""


@maintenance.command()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def report(*, output: str) -> None:
    """Tell of dead rows, bloat, open transactions and months ahead. Exits with 1 when something should be done."""
    try:
        states = asyncio.run(_states(settings_from_environment(os.environ)))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    advised = {state.database: advice(state) for state in states}
    if output == "json":
        found = [{**asdict(state), "advice": advised[state.database]} for state in states]
        click.echo(json.dumps(found, indent=2, default=str))
    else:
        for state in states:
            _print(Console(), state, advised[state.database])
    if any(advised.values()):
        raise SystemExit(_ADVISED)


async def _states(settings: Settings) -> list[DatabaseState]:
    async with both_databases(settings) as databases:
        return [await read_state(databases.secure, "secure"), await read_state(databases.core, "core")]


def _print(console: Console, state: DatabaseState, advised: list[str]) -> None:
    console.print(f"[bold]clm_{state.database}_db[/bold]: {state.months_ahead} months of the audit log ahead")
    tables = Table("Table", "Live", "Dead", "Octets", "Vacuumed")
    for table in state.tables[:_SHOWN]:
        vacuumed = f"{table.vacuumed_at:%Y-%m-%d %H:%M}" if table.vacuumed_at else "never"
        tables.add_row(table.name, str(table.live), str(table.dead), str(table.octets), vacuumed)
    console.print(tables)
    indexes = Table("Index", "Octets", "Needed, by estimate", "Scans")
    for index in state.indexes[:_SHOWN]:
        indexes.add_row(index.name, str(index.octets), str(index.needed_octets), str(index.scans))
    console.print(indexes)
    for sentence in advised:
        console.print(f"[yellow]To do:[/yellow] {sentence}")
    if not advised:
        console.print("Nothing is to be done.")
