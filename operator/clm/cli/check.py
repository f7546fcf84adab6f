"""`clm check`: the comparison of the three worlds, for an operator in production."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from clm.cluster.session import load_credentials
from clm.errors import ClmError
from clm.factory import build_checker, open_dependencies
from clm.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    from clm.lifecycle.check import Finding, Report

_PROBLEMS_FOUND = 1


@click.command()
@click.option("--repair", is_flag=True, help="Have the controller publish again what is not as recorded.")
@click.option("--skip-keys", is_flag=True, help="Do not open every private key; much faster.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def check(*, repair: bool, skip_keys: bool, output: str) -> None:
    """Compare databases, cluster and token with each other.

    What clm_secure_db records is the truth. Exits with 1 when something is not as recorded. Nothing is changed without
    --repair; keys are never changed.
    """
    console = Console(stderr=True)
    try:
        settings = settings_from_environment(os.environ)
        report, repaired = asyncio.run(_check(settings, open_keys=not skip_keys, repair=repair, console=console))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps(_as_json(report, repaired), indent=2))
    else:
        _print(Console(), report, repaired)
    if report.findings:
        raise SystemExit(_PROBLEMS_FOUND)


async def _check(settings: Settings, *, open_keys: bool, repair: bool, console: Console) -> tuple[Report, int]:
    credentials = await load_credentials()
    dependencies = open_dependencies(settings, credentials)
    try:
        await dependencies.secure.start()
        await dependencies.core.start()
        await dependencies.token.start()
        checker = build_checker(dependencies)
        with console.status("comparing") as status:
            report = await checker.check(open_keys=open_keys, progress=status.update)
        repaired = await checker.repair(report) if repair else 0
    finally:
        await dependencies.close()
    return report, repaired


def _as_json(report: Report, repaired: int) -> dict[str, object]:
    return {
        "compared": report.compared,
        "findings": [_finding(finding) for finding in report.findings],
        "repairing": repaired,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "world": finding.world,
        "object": finding.object,
        "problem": finding.problem,
        "repairable": finding.republish is not None,
    }


def _print(console: Console, report: Report, repaired: int) -> None:
    looked_at = ", ".join(f"{number} {what}" for what, number in report.compared.items())
    console.print(f"Compared: {looked_at or 'nothing'}")
    if not report.findings:
        console.print("[green]Everything is as recorded.[/green]")
        return
    table = Table("World", "Object", "Problem", "Repair")
    for finding in report.findings:
        table.add_row(
            finding.world, finding.object, finding.problem, "publish again" if finding.republish else "by hand"
        )
    console.print(table)
    if repaired:
        console.print(f"The controller publishes {repaired} certificates again; look again in a minute.")
    elif any(finding.republish for finding in report.findings):
        console.print("Run with --repair to have the controller publish again what is marked so.")
