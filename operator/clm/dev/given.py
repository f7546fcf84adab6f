"""The two databases where somebody else runs them: their DSNs are given, and nothing is started for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clm.dev.databases import DATABASES, DevDatabase
from clm.errors import DatabaseUnavailable, InvalidSetting, MigrationFailed
from clm.settings import require_verified_tls
from clm.storage.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clm.dev.postgres_access import DatabaseName
    from clm.dev.state import StateFolder

RESPONDER_VARIABLE = "CLM_CORE_RESPONDER_DSN"
"""The variable with the DSN of the user clm_responder, where clm_core_db is somebody else's."""

_SECRETS = ("password", "sslpassword", "oauth_client_secret")


@dataclass(frozen=True, slots=True)
class GivenDatabase:
    """One of the two, by the operator's DSN and, where it is another user's, the one that migrates."""

    name: DatabaseName
    dsn: str = field(repr=False)
    migrator_dsn: str | None = field(repr=False)

    def start(self) -> str:
        """Apply the migrations; return the operator's DSN. Blocking. Raises MigrationFailed, DatabaseUnavailable."""
        try:
            migrate(self.migrator_dsn or self.dsn, self.name)
        except (MigrationFailed, DatabaseUnavailable) as error:
            if self.migrator_dsn is not None:
                raise
            hint = f"to migrate as another user than the operator's, set {migrator_variable(self.name)}"
            raise type(error)(f"{error}; {hint}") from error
        return self.dsn


def given_databases(environment: Mapping[str, str], state: StateFolder) -> dict[DatabaseName, GivenDatabase]:
    """Read the DSNs that the caller has set; none at all where the databases are the environment's own.

    Its own they are, too, where the DSNs are those that it has written into its file of settings itself. Raises
    InvalidSetting when only one is set, or one is not as the operator would take it.
    """
    dsns = {name: environment.get(dsn_variable(name)) or "" for name in DATABASES}
    dsns = {name: dsn for name, dsn in dsns.items() if dsn and not DevDatabase(state, name).is_own(dsn)}
    migrators = {name: environment.get(migrator_variable(name)) or None for name in DATABASES}
    for name in DATABASES:
        if name not in dsns and (dsns or any(migrators.values())):
            told = "set both DSNs for databases of your own, or neither (nor CLM_*_MIGRATOR_DSN) for embedded ones"
            raise InvalidSetting(dsn_variable(name), f"is missing beside what is set: {told}")
    found = {name: GivenDatabase(name, dsn, migrators[name]) for name, dsn in dsns.items()}
    for name, database in found.items():
        require_verified_tls(database.dsn, variable=dsn_variable(name), environment=environment)
        if database.migrator_dsn is not None:
            variable = migrator_variable(name)
            require_verified_tls(database.migrator_dsn, variable=variable, environment=environment)
    return found


def given_responder_dsn(environment: Mapping[str, str]) -> str | None:
    """Read the responder's DSN, beside given databases; None: no responder is run. Raises InvalidSetting."""
    dsn = environment.get(RESPONDER_VARIABLE) or None
    if dsn is not None:
        require_verified_tls(dsn, variable=RESPONDER_VARIABLE, environment=environment)
    return dsn


def dsn_variable(name: DatabaseName) -> str:
    """Name of the variable with the operator's DSN."""
    return f"CLM_{name.upper()}_DSN"


def migrator_variable(name: DatabaseName) -> str:
    """Name of the variable with the DSN of whoever migrates."""
    return f"CLM_{name.upper()}_MIGRATOR_DSN"


def without_secrets(dsn: str) -> str:
    """Give a DSN without the passwords that may be in it, to be shown."""
    parameters = conninfo_to_dict(dsn).items()
    return make_conninfo(**{name: str(value) for name, value in parameters if value and name not in _SECRETS})
