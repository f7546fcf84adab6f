"""`clm audit resume`: a person accepts a log that is behind its anchor."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clm.audit.anchor import checkpoint_of, ends_of, give_up, given_up_of, read_anchors
from clm.audit.checkpoint import SignedNote
from clm.cli.actor import the_actor
from clm.cli.audit_options import errors_told
from clm.cli.dependencies import everything
from clm.cluster.anchors import AnchorStore
from clm.errors import AuditFailed, NoteInvalid
from clm.resources.audit import AuditRecord
from clm.resources.seals import DATABASES, LEDGERS
from clm.settings import SYSTEM_ORGANIZATION, Settings, settings_from_environment
from clm.storage.records import RecordStore
from clm.storage.seals import SealStore
from clm.storage.secure.sealing_keys import sealing_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clm.resources.seals import LedgerName
    from clm.wiring.outside import Dependencies

_TRIES = 20
_TRY_AGAIN_S = 0.25
_SHOWN = 1000


@click.command()
@click.option("--database", type=click.Choice(LEDGERS), required=True, help="Which log.")
@click.option("--reason", required=True, help="Why: what was restored, from when, by whose order. It is recorded.")
@click.option(
    "--anchor-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The controller's anchor file, where CLM_AUDIT_ANCHOR_FILE is not it: what it holds is given up, too.",
)
@click.confirmation_option(prompt="Records after the restored ones are lost then. Accept the shorter log?")
@errors_told
def resume(*, database: LedgerName, reason: str, anchor_file: Path | None) -> None:
    """Accept a log that is behind its anchor, after a restore: sealing goes on from there.

    Settings are the operator's CLM_* variables. Anchors that are given up stay in the ConfigMap, and on record.
    """
    click.echo(asyncio.run(_resume(settings_from_environment(os.environ), database, reason, anchor_file)))


async def _resume(settings: Settings, database: LedgerName, reason: str, file: Path | None) -> str:
    kept = _read(file or settings.audit_anchor_file)
    async with everything(settings) as dependencies:
        anchors = AnchorStore(dependencies.client, namespace=settings.namespace)
        standing, name = await anchors.read(), DATABASES[database]
        given_up = given_up_of(standing.data, name)
        notes = [note for note in (standing.data.get(name), kept.get(name)) if note is not None]
        notes = [note for note in dict.fromkeys(notes) if not any(given.note == note for given in given_up)]
        if not notes:
            raise AuditFailed(f"{name} has no anchor")
        store = SealStore(dependencies.secure if database == "secure" else dependencies.core, database)
        lost, newest = await _lost(store, notes)
        if not lost and not await _ends_compromised(dependencies, newest):
            raise AuditFailed(f"{name} is not behind its anchor")
        accepted = checkpoint_of(newest).batch if newest is not None else 0
        await _record(settings, dependencies, database, lost, reason=reason, accepted=accepted)
        # Null takes the key out of the ConfigMap: a log without any seal has nothing to be anchored.
        data = {**give_up(standing.data, name, lost, accepted=accepted), name: newest}
        await anchors.write(standing, {**data, **_sooner(standing.data, name, newest, accepted)})
    return f"{name}: accepted up to batch {accepted}; given up: {', '.join(map(_named, lost)) or 'nothing'}"


def _read(file: Path | None) -> Mapping[str, str]:
    if file is None or not file.exists():
        return {}
    return read_anchors(file.read_text(encoding="utf-8"))


async def _lost(store: SealStore, notes: Sequence[str]) -> tuple[list[str], str | None]:
    """Tell which anchors the log does not hold (those that nobody can read, too), and what its newest note is."""
    lost, newest = [], None
    for note in notes:
        try:
            anchored = checkpoint_of(note)
        except NoteInvalid:
            standing = await _notes(store, 0)
            lost.append(note)
        else:
            standing = await _notes(store, anchored.batch)
            if not any(SignedNote.parse(text).text == anchored.text() for _, text in standing):
                lost.append(note)
        newest = standing[0][1] if standing else None
    return lost, newest


async def _ends_compromised(dependencies: Dependencies, newest: str | None) -> bool:
    """Whether the newest seal is of a compromised key: the sealer continues it only where a person says so."""
    if newest is None:
        return False
    compromised = [key.spki for key in await sealing_keys(dependencies.secure) if key.compromised]
    try:
        SignedNote.parse(newest).verify(compromised)
    except NoteInvalid:
        return False
    return True


def _sooner(data: Mapping[str, str], database: str, newest: str | None, accepted: int) -> dict[str, str]:
    """Compromised keys that were trusted for batches that are gone end with what is accepted."""
    ends = ends_of(data, database)
    late = [digest for digest, end in ends.items() if end is not None and end.batch > accepted]
    return {f"{database}.compromised.{digest.hex()}": newest or "" for digest in late}


async def _notes(store: SealStore, batch: int) -> list[tuple[int, str]]:
    """Read the newest note, and that of a batch, while nobody seals."""
    for _ in range(_TRIES):
        async with store.sealing() as sealing:
            if sealing is not None:
                return await sealing.notes(batch)
        await asyncio.sleep(_TRY_AGAIN_S)
    raise AuditFailed("another process is sealing all the time: try again")


async def _record(
    settings: Settings,
    dependencies: Dependencies,
    database: LedgerName,
    lost: Sequence[str],
    *,
    reason: str,
    accepted: int,
) -> None:
    store = dependencies.secure if database == "secure" else dependencies.core
    actor = await the_actor(settings, secure=dependencies.secure, core=dependencies.core, token=dependencies.token)
    await RecordStore(store, database).record(
        AuditRecord(
            organization_id=SYSTEM_ORGANIZATION,
            action="audit.resume",
            object_type="audit-log",
            object_id=DATABASES[database],
            reason=reason,
            actor_type="user",
            actor_id=actor.id,
            details={"accepted_batch": accepted, "given_up": [note[:_SHOWN] for note in lost], **actor.details},
        )
    )


def _named(note: str) -> str:
    try:
        return f"batch {checkpoint_of(note).batch}"
    except NoteInvalid:
        return "one that cannot be read"
