"""`clm revoke`: certificates, by serial number, id or fingerprint; also where their object is gone."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, NamedTuple

import click

from clm.cli.actor import the_actor
from clm.cli.dependencies import RevocationParts, both_databases, revocation_parts
from clm.cli.tables import listing, print_listing
from clm.errors import ClmError, InvalidInput, Unavailable
from clm.lifecycle.choose import Wanted, choose
from clm.resources.revocation import REASONS, Revocation
from clm.resources.status import parse_time
from clm.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from clm.lifecycle.choose import Choice
    from clm.resources.revocation import Recorded, Revocable, RevocationReason

_LISTED = 50
_NOT_IN_TIME = 2
_POLL_S = 0.2
_DIGEST = 32
_SAYS = {
    "reason": "Why (RFC 5280 5.3.1).",
    "id": "A certificate's id, as in status.certificateId. May be given several times.",
    "fingerprint": "SHA-256 of a certificate, in hexadecimal. May be given several times.",
    "issuer": "Only serial numbers of this CA: namespace/name of its Certificate, or the id of its key.",
    "file": "A file with a serial number a line; - for standard input.",
    "comment": "What is to be remembered of it. It must not tell of a person.",
    "invalidity": "Since when the key is thought to be bad, as 2026-11-24T09:00:00Z (RFC 5280 5.3.2).",
    "dry": "Only list what would be revoked.",
    "yes": "Do not ask.",
    "wait": "Wait until the CRL has them; exit with 2 when it does not in time.",
}


class _Task(NamedTuple):
    wanted: Wanted
    revocation: Revocation
    dry_run: bool
    yes: bool
    wait_s: float | None


@click.command()
@click.argument("serials", nargs=-1, metavar="[SERIAL]...")
@click.option("--reason", type=click.Choice(REASONS), required=True, help=_SAYS["reason"])
@click.option("--id", "ids", type=click.UUID, multiple=True, help=_SAYS["id"])
@click.option("--fingerprint", "fingerprints", multiple=True, help=_SAYS["fingerprint"])
@click.option("--issuer", help=_SAYS["issuer"])
@click.option("--file", "source", type=click.File(encoding="utf-8"), help=_SAYS["file"])
@click.option("--comment", help=_SAYS["comment"])
@click.option("--invalidity-date", help=_SAYS["invalidity"])
@click.option("--dry-run", is_flag=True, help=_SAYS["dry"])
@click.option("--yes", is_flag=True, help=_SAYS["yes"])
@click.option("--wait", is_flag=True, help=_SAYS["wait"])
@click.option("--timeout", "timeout_s", type=float, default=60.0, show_default=True, help="Seconds that --wait waits.")
def revoke(  # noqa: PLR0913 - one an option
    *,
    serials: tuple[str, ...],
    reason: RevocationReason,
    ids: tuple[uuid.UUID, ...],
    fingerprints: tuple[str, ...],
    issuer: str | None,
    source: IO[str] | None,
    comment: str | None,
    invalidity_date: str | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout_s: float,
) -> None:
    """Revoke certificates by SERIAL number, id or fingerprint, for good, and on the record.

    A serial number is written in hexadecimal, with or without colons; digits alone may also be decimal. A compromised
    key takes all its certificates with it. The Certificate object is not looked at: where it stands, it gets a new
    certificate. To end that, set its spec.revocation instead.
    """
    try:
        listed = _lines(source.read()) if source is not None else ()
        wanted = Wanted(
            serials=(*serials, *listed), ids=ids, fingerprints=tuple(map(_octets, fingerprints)), issuer=issuer
        )
        if not (wanted.serials or wanted.ids or wanted.fingerprints):
            raise click.UsageError("name what is to be revoked: SERIAL, --id, --fingerprint or --file")
        revocation = Revocation(
            reason=reason, actor_type="user", comment=comment, invalidity_date=_moment(invalidity_date)
        )
        task = _Task(wanted, revocation, dry_run, yes, timeout_s if wait else None)
        asyncio.run(_run(settings_from_environment(os.environ), task))
    except ClmError as error:
        raise click.ClickException(str(error)) from error


async def _run(settings: Settings, task: _Task) -> None:
    async with both_databases(settings) as databases:
        parts = revocation_parts(databases, cluster_id=settings.cluster_id)
        choice = await choose(parts.store, task.wanted, task.revocation.reason, now=datetime.now(UTC))
        chosen = (*choice.named, *choice.same_key)
        _show(choice)
        if not chosen:
            raise InvalidInput("nothing to do", "all of it is revoked already, and the first reason stands")
        if task.dry_run:
            return
        if not task.yes:
            click.confirm(
                f"Revoke {_many(len(chosen))} for {task.revocation.reason}? There is no way back.", abort=True
            )
        actor = await the_actor(settings, secure=databases.secure, core=databases.core)
        details = {"cause": "clm revoke", **actor.details}
        revocation = replace(task.revocation, actor_id=actor.id, details=details)
        # The outbox rows stay: by them the controller learns of it, and the object gets a new certificate.
        recorded = await parts.revoker.record(chosen, revocation, patience_s=0)
        click.echo(f"Recorded: {_many(len(recorded))} revoked for {revocation.reason}.")
        await _announce(parts, recorded)
        if task.wait_s is not None:
            await _wait(parts, recorded, timeout_s=task.wait_s)


async def _announce(parts: RevocationParts, recorded: Sequence[Recorded]) -> None:
    try:
        await parts.revoker.announce(recorded, clear=False)
    except Unavailable as error:
        click.echo(f"OCSP and the inventory learn of it from the controller, a little later: {error}", err=True)
    else:
        click.echo("Announced: OCSP answers and the inventory say so.")


async def _wait(parts: RevocationParts, recorded: Sequence[Recorded], *, timeout_s: float) -> None:
    with_crl = await parts.announcements.with_crl({one.issuer_key_id for one in recorded})
    waited_for = [one.certificate_id for one in recorded if one.issuer_key_id in with_crl]
    if len(waited_for) < len(recorded):
        click.echo(f"No CRL is published for {_many(len(recorded) - len(waited_for))} (spec.authority.crl of the CA).")
    deadline = time.monotonic() + timeout_s
    while missing := await parts.store.unpublished(waited_for):
        if time.monotonic() > deadline:
            click.echo(
                f"After {timeout_s:.0f} s the CRL lacks {_many(missing)}; the controller publishes it.", err=True
            )
            raise SystemExit(_NOT_IN_TIME)
        await asyncio.sleep(_POLL_S)
    if waited_for:
        click.echo(f"Published: the CRL has {_many(len(waited_for))}.")


def _show(choice: Choice) -> None:
    table = listing("Serial number", "Object", "Subject", "Issuer", "Expires", "State", "")
    every: list[tuple[Revocable, str]] = [
        *((one, "") for one in choice.named),
        *((one, "has the same key") for one in choice.same_key),
        *((one, "nothing to do") for one in choice.already),
    ]
    for one, remark in every[:_LISTED]:
        state = f"revoked ({one.reason})" if one.reason is not None else one.state
        table.add_row(
            one.serial_number.hex(":"),
            f"{one.owner.namespace}/{one.owner.name}",
            one.subject,
            one.issuer_name,
            f"{one.not_after:%Y-%m-%d}",
            state,
            remark,
        )
    print_listing(table)
    if len(every) > _LISTED:
        click.echo(f"... and {len(every) - _LISTED} more")
    if any(one.subject_key_id is not None for one in (*choice.named, *choice.same_key)):
        click.echo("A CA is among them: what it issued will not be accepted any more, though it is not revoked itself.")


def _many(number: int) -> str:
    return "1 certificate" if number == 1 else f"{number} certificates"


def _lines(text: str) -> tuple[str, ...]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def _octets(fingerprint: str) -> bytes:
    try:
        octets = bytes.fromhex(fingerprint.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != _DIGEST:
        raise InvalidInput("--fingerprint", "must be a SHA-256 digest: 32 octets in hexadecimal")
    return octets


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = parse_time(text)
    if moment is None:
        raise InvalidInput("--invalidity-date", "must be a moment with its zone, as 2026-11-24T09:00:00Z")
    if moment > datetime.now(UTC):
        raise InvalidInput("--invalidity-date", "must not lie ahead")
    return moment
