"""What the commands of `clm audit` have in common: which log, by which DSN, whose keys, against which anchor."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from clm.audit.anchor import read_anchors, read_public_keys
from clm.cluster.anchors import PUBLIC_KEY, AnchorStore
from clm.cluster.client import ApiClient
from clm.cluster.session import load_credentials, open_session
from clm.errors import ClmError
from clm.resources.seals import LEDGERS
from clm.settings import require_verified_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clm.resources.seals import LedgerName

P = ParamSpec("P")
T = TypeVar("T")

CONFIG_MAP = "configmap"

database_option = click.option("--database", type=click.Choice(LEDGERS), help="Which log; both, if it is not given.")
dsn_option = click.option("--dsn", help="DSN of --database; else CLM_SECURE_DSN and CLM_CORE_DSN.")
public_key_option = click.option(
    "--public-key",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Public keys that are trusted, in PEM.",
)
output_option = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


def errors_told(command: Callable[P, T]) -> Callable[P, T]:
    """Tell what CLM raises on purpose in one line, with exit code 1."""

    @functools.wraps(command)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return command(*arguments, **options)
        except (ClmError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


def ledgers_of(database: LedgerName | None) -> Sequence[LedgerName]:
    """The logs that are meant."""
    return LEDGERS if database is None else (database,)


def dsn_of(ledger: LedgerName, database: LedgerName | None, dsn: str | None) -> str:
    """DSN of one log. Raises InvalidSetting where its server would not be verified, click.UsageError without any."""
    variable = f"CLM_{ledger.upper()}_DSN"
    if dsn is not None and database is None:
        raise click.UsageError("--dsn is of one database: give --database, too")
    chosen = dsn or os.environ.get(variable)
    if not chosen:
        raise click.UsageError(f"no DSN: set {variable}, or give --database and --dsn")
    require_verified_tls(chosen, variable="--dsn" if dsn else variable, environment=os.environ)
    return chosen


async def anchors_from(anchor: str) -> Mapping[str, str]:
    """Read anchors from a file, or from the cluster's ConfigMap. Raises NoteInvalid, ClusterUnavailable."""
    if anchor != CONFIG_MAP:
        return read_anchors(Path(anchor).read_text(encoding="utf-8"))  # noqa: ASYNC240 - a command with nothing else to do
    credentials = await load_credentials()
    client = ApiClient(open_session(credentials, connections=1), credentials.server)
    try:
        return (await AnchorStore(client, namespace=os.environ.get("CLM_NAMESPACE") or "clm-system").read()).data
    finally:
        await client.close()


def keys_from(files: Sequence[Path], anchors: Mapping[str, str]) -> list[bytes]:
    """Public keys that are trusted: those of the files, else the anchor's. Raises NoteInvalid."""
    texts = [file.read_text(encoding="utf-8") for file in files]
    if not texts and PUBLIC_KEY in anchors:
        texts = [anchors[PUBLIC_KEY]]
    return [key for text in texts for key in read_public_keys(text)]
