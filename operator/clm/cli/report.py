"""`clm report`: what is to come, by what is recorded."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from clm.cli.dependencies import both_databases
from clm.cli.tables import listing, print_listing
from clm.errors import ClmError
from clm.settings import Settings, settings_from_environment
from clm.storage.secure.renewals import RenewalStore

if TYPE_CHECKING:
    from clm.storage.secure.renewals import Backlog, DayOfRenewals

_OVERDUE = timedelta(hours=1)
_LATE = 1


@click.group()
def report() -> None:
    """Tell what is to come."""


@report.command()
@click.option("--days", type=click.IntRange(1, 730), default=30, show_default=True, help="How far to look ahead.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def renewals(*, days: int, output: str) -> None:
    """Forecast the renewals of each day (UTC), with how many fall into its fullest second.

    Reads the indexed due times of clm_secure_db; what is issued until then is not in it. Exits with 1 when renewals
    have been due for more than an hour.
    """
    try:
        backlog, found = asyncio.run(_forecast(settings_from_environment(os.environ), days))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        listed = [
            {"day": f"{it.day:%Y-%m-%d}", "renewals": it.renewals, "peakPerSecond": it.peak_per_second} for it in found
        ]
        click.echo(json.dumps({"due": backlog.due, "overdue": backlog.overdue, "days": listed}, indent=2))
    else:
        _print(backlog, found, days)
    if backlog.overdue:
        raise SystemExit(_LATE)


async def _forecast(settings: Settings, days: int) -> tuple[Backlog, list[DayOfRenewals]]:
    now = datetime.now(UTC)
    async with both_databases(settings) as databases:
        store = RenewalStore(databases.secure, cluster_id=settings.cluster_id)
        backlog = await store.backlog(now=now, overdue_since=now - _OVERDUE)
        return backlog, await store.forecast(now=now, until=now + timedelta(days=days))


def _print(backlog: Backlog, found: list[DayOfRenewals], days: int) -> None:
    click.echo(f"Due now: {backlog.due}, {backlog.overdue} of them for more than an hour.")
    if not found:
        click.echo(f"Nothing falls due within {days} days.")
        return
    table = listing("Day", "Renewals", "Peak per second")
    for it in found:
        table.add_row(f"{it.day:%Y-%m-%d}", str(it.renewals), str(it.peak_per_second))
    print_listing(table)
