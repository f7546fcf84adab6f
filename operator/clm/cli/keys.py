"""`clm keys`: every key with its state, its end and what depends on it; and the acts on them."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from clm.cli.actor import the_actor
from clm.cli.dependencies import both_databases, key_acts, key_store, leaf_keys, the_token
from clm.cli.tables import listing, print_listing
from clm.errors import ClmError, KeyInUse, KeyMissing
from clm.lifecycle.key_acts import require_destroyable
from clm.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Coroutine

    from clm.lifecycle.key_acts import Actor
    from clm.resources.key_states import KeyAct
    from clm.storage.secure.destruction import LeafKey, PrivateKeyDestruction
    from clm.storage.secure.key_acts import KeyOverview

_SOON = timedelta(days=90)
_PAST = 1


@click.group()
def keys() -> None:
    """Show keys and change their states (NIST SP 800-57): each act is on the record."""


@keys.command(name="list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Also keys that are destroyed, and those of persons.")
def list_keys(*, output: str, everything: bool) -> None:
    """List the keys in the token. Exits with 1 when one is past its cryptoperiod."""
    found = _run(_overview)
    if not everything:
        found = [key for key in found if key.state != "destroyed" and key.purpose != "subject-shred"]
    now = datetime.now(UTC)
    if output == "json":
        click.echo(json.dumps([_as_json(key, now) for key in found], indent=2))
    else:
        _print(Console(), found, now)
    if any(_is_past(key, now) for key in found):
        raise SystemExit(_PAST)


def _act(name: KeyAct, says: str) -> None:
    @keys.command(name=name, help=says)
    @click.argument("key_id", type=click.UUID, metavar="ID")
    @click.option("--reason", required=True, help="Why; goes on the record.")
    def command(*, key_id: uuid.UUID, reason: str) -> None:
        click.echo(_run(lambda settings: _change(settings, key_id, name, reason)))


_act("suspend", "Have a key protect nothing new until it is resumed. A CA stops issuing within a minute.")
_act("resume", "Have a suspended key work again.")
_act("deactivate", "End a key: it opens and verifies what there is, and protects nothing new. There is no way back.")
_act("compromise", "Call a key compromised, also a leaf's. There is no way back. Revoke what it protected.")


@keys.command()
@click.argument("key_id", type=click.UUID, metavar="ID")
@click.option("--reason", required=True, help="Why; goes on the record.")
@click.option("--yes-destroy", "label", help="The key's label, to confirm: nobody can bring it back.")
def destroy(*, key_id: uuid.UUID, reason: str, label: str | None) -> None:
    """Destroy a key for good, in the token or wrapped in the database. Nothing may depend on it.

    A key in the token has to be deactivated or compromised before. Without --yes-destroy nothing goes.
    """
    click.echo(_run(lambda settings: _destroy(settings, key_id, reason, label)))


async def _overview(settings: Settings) -> list[KeyOverview]:
    async with both_databases(settings) as databases:
        return await key_store(databases.secure).overview()


async def _change(settings: Settings, key_id: uuid.UUID, act: KeyAct, reason: str) -> str:
    async with both_databases(settings) as databases:
        leaves = leaf_keys(databases.secure)
        leaf = await leaves.one(key_id)
        actor = await the_actor(settings, secure=databases.secure, core=databases.core)
        if leaf is not None and act == "compromise":
            if not await leaves.compromise(leaf, reason=reason, actor=actor.id):
                raise KeyInUse(f"private key {leaf.id} is {leaf.state}")
            return f"Private key {leaf.id} is compromised. Revoke its certificates."
        changed = await key_acts(databases.secure, actor=actor).change(key_id, act, reason=reason)
    return f"Key {changed.label} ({changed.purpose}) is {changed.state}."


async def _destroy(settings: Settings, key_id: uuid.UUID, reason: str, label: str | None) -> str:
    async with both_databases(settings) as databases:
        leaves = leaf_keys(databases.secure)
        leaf = await leaves.one(key_id)
        if leaf is not None:
            actor = await the_actor(settings, secure=databases.secure, core=databases.core)
            return await _destroy_leaf(leaves, leaf, reason, label, actor)
        key = await key_store(databases.secure).one(key_id)
        if key is None:
            raise KeyMissing(f"there is no key {key_id}")
        require_destroyable(key)
        _confirm(key.label, label, f"{key.purpose} key {key.label}, version {key.version}, in token {key.token_serial}")
        async with the_token(settings) as token:
            actor = await the_actor(settings, secure=databases.secure, core=databases.core, token=token)
            removed = await key_acts(databases.secure, actor=actor).destroy(token, key_id, reason=reason)
    return f"Key {key.label} is destroyed; {removed} objects went from the token."


async def _destroy_leaf(
    leaves: PrivateKeyDestruction, leaf: LeafKey, reason: str, label: str | None, actor: Actor
) -> str:
    if leaf.legal_hold:
        raise KeyInUse(f"private key {leaf.id} is under legal hold")
    _confirm(str(leaf.id), label, f"private key {leaf.id} ({leaf.state})")
    needed = await leaves.destroy_one(leaf, reason=reason, actor=actor.id)
    if needed:
        raise KeyInUse(f"private key {leaf.id} cannot be destroyed: {needed} certificates or requests need it")
    return f"Private key {leaf.id} is destroyed; its certificates stay on record."


def _confirm(wanted: str, given: str | None, what: str) -> None:
    if given is None:
        raise KeyInUse(f"this would destroy {what} for good; to do it, add --yes-destroy {wanted}")
    if given != wanted:
        raise KeyMissing(f"--yes-destroy says {given}, and the key is {wanted}; nothing was destroyed")


def _run(act: Callable[[Settings], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401 - whatever the act gives
    try:
        return asyncio.run(act(settings_from_environment(os.environ)))
    except ClmError as error:
        raise click.ClickException(str(error)) from error


def _is_past(key: KeyOverview, now: datetime) -> bool:
    return key.state in {"active", "suspended"} and key.oup_ends_at is not None and key.oup_ends_at <= now


def _as_json(key: KeyOverview, now: datetime) -> dict[str, Any]:
    return {
        "id": str(key.id),
        "purpose": key.purpose,
        "algorithm": key.algorithm,
        "version": key.version,
        "label": key.label,
        "state": key.state,
        "stateReason": key.state_reason,
        "token": key.token_label,
        "tokenSerial": key.token_serial,
        "owner": f"{key.namespace}/{key.name}" if key.name else None,
        "legalHold": key.legal_hold,
        "createdAt": key.created_at.isoformat(),
        "originatorUsageEndsAt": key.oup_ends_at.isoformat() if key.oup_ends_at else None,
        "recipientUsageEndsAt": key.rup_ends_at.isoformat() if key.rup_ends_at else None,
        "pastItsPeriod": _is_past(key, now),
        "dependents": key.dependents,
    }


def _print(console: Console, found: list[KeyOverview], now: datetime) -> None:
    table = listing("ID", "Purpose", "Label", "Version", "State", "Token", "Created", "Used until", "Needed by")
    for key in found:
        needed = ", ".join(f"{number} {what}" for what, number in key.dependents.items())
        table.add_row(
            str(key.id),
            key.purpose,
            key.label,
            str(key.version),
            key.state,
            key.token_label or "-",
            f"{key.created_at:%Y-%m-%d}",
            _until(key, now),
            needed or "-",
        )
    print_listing(table)
    for key in found:
        if _is_past(key, now):
            console.print(f"[red]{key.label} is past its cryptoperiod[/red]: have a KeyRotation replace it.")


def _until(key: KeyOverview, now: datetime) -> str:
    if key.oup_ends_at is None:
        return "-"
    text = f"{key.oup_ends_at:%Y-%m-%d}"
    if _is_past(key, now):
        return f"[red]{text}[/red]"
    return f"[yellow]{text}[/yellow]" if key.oup_ends_at - now < _SOON and key.state == "active" else text
