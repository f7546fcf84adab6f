"""`clm renew`: asks for renewals, with the kubeconfig of whoever runs it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from clm.cli.tables import listing, print_listing
from clm.cluster import paths
from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.errors import ClmError
from clm.lifecycle.renewal_requests import Asked, Selection, ask, became, select
from clm.lifecycle.view import Key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NOT_ALL = 1
_POLL_S = 1.0
_PENDING = ("asked", "already asked", "waiting")
_COLOURS = {"refused": "red", "failed": "red", "renewed": "green", "waiting": "yellow"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAMESPACE/NAME]...")
@click.option("-n", "--namespace", help="Namespace of the names that have none, or of what is selected.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Select in every namespace.")
@click.option("--all", "everything", is_flag=True, help="Select every Certificate there.")
@click.option("-l", "--selector", help="Select by labels, as kubectl does.")
@click.option("--policy", help="Select those that refer to this Policy.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="Kubeconfig to use.")
@click.option("--wait", is_flag=True, help="Wait until they are renewed.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=120.0, show_default=True, metavar="SECONDS"
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def renew(
    *, names: tuple[str, ...], wait: bool, timeout_s: float, kubeconfig: str | None, output: str, **which: Any
) -> None:
    """Ask for new certificates now, whatever their renewal times and windows say.

    Each is asked for by the annotation clm-operator.io/renew-requested-at, with your own rights; the controller issues
    it. That also ends the waiting after failed attempts, and a suspension. Exits with 1 when one was refused, has
    failed, or with --wait is not renewed in time, and with 2 when the command makes no sense.
    """
    selection = _selection(names, **which)
    try:
        outcome = asyncio.run(_renew(selection, kubeconfig=kubeconfig, timeout_s=timeout_s if wait else None))
    except ClmError as error:
        raise click.ClickException(str(error)) from error
    if output == "json":
        click.echo(json.dumps([_as_json(asked) for asked in outcome], indent=2))
    else:
        _print(outcome)
    if not outcome or any(asked.outcome in {"refused", "failed", "waiting"} for asked in outcome):
        raise SystemExit(_NOT_ALL)


def _selection(
    names: tuple[str, ...],
    *,
    namespace: str | None,
    all_namespaces: bool,
    everything: bool,
    selector: str | None,
    policy: str | None,
) -> Selection:
    selects = everything or selector is not None or policy is not None
    if names and (selects or all_namespaces):
        raise click.UsageError("name Certificates, or select them; not both")
    if not names and not selects:
        raise click.UsageError("name Certificates, or select them by --all, --selector or --policy")
    if selects and (namespace is None) is not all_namespaces:
        raise click.UsageError("say where to select: --namespace NAMESPACE, or --all-namespaces")
    return Selection(
        names=tuple(dict.fromkeys(_named(name, namespace) for name in names)),
        namespace=namespace,
        labels=selector,
        policy=policy,
    )


def _named(text: str, namespace: str | None) -> Key:
    before, slash, name = text.rpartition("/")
    where = before if slash else namespace
    if not where or not name or "/" in where:
        raise click.UsageError(f"{text}: name it as NAMESPACE/NAME, or give --namespace")
    return Key(where, name)


async def _renew(selection: Selection, *, kubeconfig: str | None, timeout_s: float | None) -> list[Asked]:
    async with _cluster(kubeconfig) as client:
        found = await select(client, selection)
        outcome = [await ask(client, body, now=datetime.now(UTC)) for body in found]
        if timeout_s is None:
            return outcome
        deadline = time.monotonic() + timeout_s
        while any(asked.outcome in _PENDING for asked in outcome):
            outcome = [await _look(client, asked) for asked in outcome]
            if time.monotonic() > deadline:
                break
            if any(asked.outcome in _PENDING for asked in outcome):
                await asyncio.sleep(_POLL_S)
        return outcome


@asynccontextmanager
async def _cluster(kubeconfig: str | None) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(kubeconfig)
    client = ApiClient(open_session(credentials, connections=4), credentials.server)
    try:
        yield client
    finally:
        await client.close()


async def _look(client: ApiClient, asked: Asked) -> Asked:
    if asked.outcome not in _PENDING:
        return asked
    return became(await client.get(paths.certificate(*asked.key)), asked)


def _as_json(asked: Asked) -> dict[str, Any]:
    return {
        "namespace": asked.key.namespace,
        "name": asked.key.name,
        "outcome": asked.outcome,
        "why": asked.why,
        "askedAt": asked.asked_at.isoformat() if asked.asked_at else None,
        "revision": asked.revision,
        "notAfter": asked.not_after.isoformat() if asked.not_after else None,
    }


def _print(outcome: list[Asked]) -> None:
    if not outcome:
        Console(stderr=True).print("No Certificate fits.")
        return
    table = listing("Certificate", "Outcome", "Revision", "Ends", "Why")
    for asked in outcome:
        colour = _COLOURS.get(asked.outcome)
        table.add_row(
            str(asked.key),
            f"[{colour}]{asked.outcome}[/{colour}]" if colour else asked.outcome,
            str(asked.revision) if asked.revision else "-",
            f"{asked.not_after:%Y-%m-%d %H:%M}" if asked.not_after else "-",
            escape(asked.why) or "-",
        )
    print_listing(table)
