"""`clm migrate`: applies the migrations to both databases."""

from __future__ import annotations

import os

import click

from clm.errors import ClmError
from clm.settings import require_verified_tls
from clm.storage.migrations import migrate as apply_migrations


@click.command()
@click.option("--secure-dsn", envvar="CLM_SECURE_DSN", required=True, help="clm_secure_db, as clm_migrator.")
@click.option("--core-dsn", envvar="CLM_CORE_DSN", required=True, help="clm_core_db, as clm_migrator.")
def migrate(secure_dsn: str, core_dsn: str) -> None:
    """Apply what is missing, in order; adopt what psql has applied; refuse what was changed since.

    Safe to run from several places at once: one applies, the others wait and find it done. Before the first time an
    administrator runs migrations/roles.sql in each database.
    """
    try:
        for name, dsn in (("secure", secure_dsn), ("core", core_dsn)):
            require_verified_tls(dsn, variable=f"CLM_{name.upper()}_DSN", environment=os.environ)
            applied = apply_migrations(dsn, name)  # type: ignore[arg-type]
            for migration in applied:
                click.echo(f"clm_{name}_db: {migration}")
            if not applied:
                click.echo(f"clm_{name}_db: up to date")
    except ClmError as error:
        raise click.ClickException(str(error)) from error
