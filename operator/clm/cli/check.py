"""`clm check`: the comparison of the three worlds, for an operator in production."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from clm.cli.actor import the_actor
from clm.cli.dependencies import both_databases, everything
from clm.errors import ClmError, InvalidInput
from clm.lifecycle.integrity import as_json
from clm.settings import Settings, settings_from_environment
from clm.storage.core.reports import ReportStore
from clm.wiring.upkeep import build_integrity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clm.lifecycle.findings import Report
    from clm.storage.core.reports import StoredReport

_PROBLEMS_FOUND = 1


@click.command()
@click.option("--repair", is_flag=True, help="Have the controller publish again what is not as recorded.")
@click.option("--skip-keys", is_flag=True, help="Do not open every private key; much faster.")
@click.option("--last", is_flag=True, help="Show the newest report, whoever made it; compare nothing.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def check(*, repair: bool, skip_keys: bool, last: bool, output: str) -> None:
    """Compare databases, cluster and token with each other.

    What clm_secure_db records is the truth. Exits with 1 when something is not as recorded. Nothing is changed without
    --repair but that the report is stored, and objects of the token without an owner are noted; keys are never changed.
    """
    console = Console(stderr=True)
    try:
        settings = settings_from_environment(os.environ)
        if last:
            shown = asyncio.run(_last(settings))
        else:
            shown = asyncio.run(_check(settings, open_keys=not skip_keys, repair=repair, console=console))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps(shown, indent=2))
    else:
        _print(Console(), shown)
    if shown["total"]:
        raise SystemExit(_PROBLEMS_FOUND)


async def _check(settings: Settings, *, open_keys: bool, repair: bool, console: Console) -> dict[str, Any]:
    async with everything(settings) as dependencies:
        integrity = build_integrity(
            secure=dependencies.secure,
            core=dependencies.core,
            token=dependencies.token,
            client=dependencies.client,
            keygen=dependencies.keygen,
            cluster_id=settings.cluster_id,
        )
        with console.status("comparing") as status:
            actor = await the_actor(
                settings, secure=dependencies.secure, core=dependencies.core, token=dependencies.token
            )
            report = await integrity.run(open_keys=open_keys, progress=status.update, actor=actor)
        repaired = await integrity.checker.repair(report) if repair else 0
    return _fresh(report, repaired)


async def _last(settings: Settings) -> dict[str, Any]:
    async with both_databases(settings) as databases:
        stored = await ReportStore(databases.core, origin="clm-check").last()
    if stored is None:
        raise InvalidInput("--last", "nothing has been compared yet")
    return _stored(stored)


def _fresh(report: Report, repaired: int) -> dict[str, Any]:
    return {
        "compared": report.compared,
        "total": report.total,
        "findings": [as_json(finding) for finding in report.findings],
        "repairing": repaired,
    }


def _stored(report: StoredReport) -> dict[str, Any]:
    return {
        "startedAt": report.started_at.isoformat(),
        "finishedAt": report.finished_at.isoformat(),
        "origin": report.origin,
        "openedKeys": report.opened_keys,
        "compared": report.compared,
        "total": report.finding_count,
        "findings": list(report.findings),
        "repairing": 0,
    }


def _print(console: Console, shown: Mapping[str, Any]) -> None:
    if "finishedAt" in shown:
        console.print(f"Compared by {shown['origin']}, complete at {shown['finishedAt']}", highlight=False)
    looked_at = ", ".join(f"{number} {what}" for what, number in shown["compared"].items())
    console.print(f"Compared: {looked_at or 'nothing'}")
    findings: Sequence[Mapping[str, Any]] = shown["findings"]
    if not shown["total"]:
        console.print("[green]Everything is as recorded.[/green]")
        return
    table = Table("World", "Object", "Problem", "Repair")
    for finding in findings:
        repair = "publish again" if finding["repairable"] else "by hand"
        table.add_row(finding["world"], finding["object"], finding["problem"], repair)
    console.print(table)
    if shown["total"] > len(findings):
        console.print(f"{shown['total'] - len(findings)} more are not listed; mend these and compare again.")
    if shown["repairing"]:
        console.print(f"The controller publishes {shown['repairing']} certificates again; look again in a minute.")
    elif any(finding["repairable"] for finding in findings):
        console.print("Run with --repair to have the controller publish again what is marked so.")
