"""`clm retention`: what is past its retention, shown or let go."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from clm.cli.dependencies import both_databases
from clm.errors import ClmError
from clm.settings import Settings, settings_from_environment
from clm.wiring.upkeep import build_retention

if TYPE_CHECKING:
    from clm.lifecycle.retention import Due, Month


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def retention(*, dry_run: bool, output: str) -> None:
    """Let go what is past its retention; the controller does so daily. Certificates never go.

    How long each kind is kept is set by CLM_RETENTION_*. Months of the audit logs are only listed: they go by
    `clm audit archive`, once they are archived.
    """
    try:
        settings = settings_from_environment(os.environ)
        due, months = asyncio.run(_retention(settings, dry_run=dry_run))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps(_as_json(due, months, dry_run=dry_run), indent=2))
        return
    console = Console()
    table = Table("Rule", "Database", "Table", "What", "Would go" if dry_run else "Went")
    for item in due:
        table.add_row(item.rule, item.database, item.table, item.says, str(item.count))
    console.print(table)
    for month in months:
        then = "archived: it can be dropped" if month.archived else "to be archived: clm audit archive"
        console.print(f"{month.partition} is past its retention; {then}")


async def _retention(settings: Settings, *, dry_run: bool) -> tuple[list[Due], list[Month]]:
    async with both_databases(settings) as databases:
        rules = build_retention(settings, databases.secure, databases.core)
        return (await rules.due() if dry_run else await rules.apply()), await rules.months()


def _as_json(due: list[Due], months: list[Month], *, dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": dry_run,
        "rules": [
            {"rule": item.rule, "database": item.database, "table": item.table, "count": item.count} for item in due
        ],
        "auditMonths": [
            {"database": month.database, "partition": month.partition, "archived": month.archived} for month in months
        ],
    }
