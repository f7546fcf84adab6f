"""`clm erase`: a person's data, for good (GDPR article 17)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from clm.cli.actor import the_actor
from clm.cli.dependencies import both_databases
from clm.dev.state import write_private
from clm.errors import ClmError, InvalidInput
from clm.lifecycle.erasure import read_export
from clm.settings import Settings, settings_from_environment
from clm.wiring.upkeep import build_eraser

if TYPE_CHECKING:
    from clm.cli.dependencies import Databases
    from clm.lifecycle.erasure import Eraser, Replayed
    from clm.storage.tombstones import Tombstone

_REFUSED = 1


@click.command()
@click.argument("user", required=False)
@click.option("--reason", help="Why; goes on the record. It must not tell who it was.")
@click.option("--replay", is_flag=True, help="Erase again whom a restore has brought back.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --replay: also the tombstones of this file.",
)
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write all tombstones to this file.")
def erase(*, user: str | None, reason: str | None, replay: bool, source: Path | None, target: Path | None) -> None:
    """Erase USER, by name or id: empty the row, shred the key that encrypts what the audit log has about them.

    Refused under legal hold. The audit log stays as it is, and its seals stay valid. After each erasure, export the
    tombstones to where backups do not reach: a restore brings the person back, and --replay erases them again.
    """
    console = Console()
    if sum((user is not None, replay, target is not None)) != 1:
        raise click.UsageError("give USER, or --replay, or --export FILE")
    try:
        settings = settings_from_environment(os.environ)
        if user is not None:
            stone = asyncio.run(_erase(settings, user, reason))
            console.print(f"Erased user {stone.subject_id}. Export the tombstones now: clm erase --export FILE")
        elif target is not None:
            write_private(target, asyncio.run(_export(settings)))
        else:
            imported = read_export(source.read_text(encoding="utf-8")) if source is not None else []
            _say(console, asyncio.run(_replay(settings, imported)))
    except (ClmError, OSError) as error:
        raise click.ClickException(str(error)) from error


async def _erase(settings: Settings, user: str, reason: str | None) -> Tombstone:
    if not reason:
        raise InvalidInput("--reason", "say why, for the record")
    async with both_databases(settings) as databases:
        eraser = await _eraser(settings, databases)
        return await eraser.erase(await eraser.find(user), reason=reason)


async def _export(settings: Settings) -> str:
    async with both_databases(settings) as databases:
        return await (await _eraser(settings, databases)).export()


async def _replay(settings: Settings, imported: list[Tombstone]) -> Replayed:
    async with both_databases(settings) as databases:
        return await (await _eraser(settings, databases)).replay(imported)


async def _eraser(settings: Settings, databases: Databases) -> Eraser:
    actor = await the_actor(settings, secure=databases.secure, core=databases.core)
    return build_eraser(databases.secure, databases.core, actor=actor.id)


def _say(console: Console, replayed: Replayed) -> None:
    for subject_id in replayed.erased:
        console.print(f"Erased again: user {subject_id}")
    for subject_id in replayed.refused:
        console.print(f"[red]Not erased, under legal hold:[/red] user {subject_id}")
    if not replayed.erased and not replayed.refused:
        console.print("Nobody was brought back.")
    if replayed.refused:
        raise SystemExit(_REFUSED)
