"""The two databases of the environment, each in a PostgreSQL cluster of its own, as in production."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, OPERATORS, RESPONDER, USERS, Access, DatabaseName
from clm.dev.postgres_binaries import find_postgres
from clm.dev.postgres_users import provision
from clm.storage.migrations import migrate

if TYPE_CHECKING:
    from clm.dev.state import StateFolder

DATABASES: tuple[DatabaseName, ...] = ("secure", "core")


@dataclass(frozen=True, slots=True)
class DevDatabase:
    """One of the two."""

    state: StateFolder
    name: DatabaseName

    @property
    def database(self) -> str:
        """The database's name in its cluster."""
        return f"clm_{self.name}_db"

    def start(self) -> str:
        """Start the cluster, make the database and its users, apply the migrations; return the operator's DSN.

        Blocking. Raises StartFailed, MigrationFailed.
        """
        cluster = self.cluster()
        cluster.start()
        provision(cluster, self.database)
        migrate(cluster.dsn(self.database, MIGRATOR), self.name)
        return cluster.dsn(self.database, OPERATORS[self.name])

    def responders_dsn(self) -> str:
        """DSN of the responder, in clm_core_db. Raises StartFailed before the first start."""
        return self.cluster().dsn(self.database, RESPONDER)

    def is_own(self, dsn: str) -> bool:
        """Whether a DSN is of this database: then its password is in a file beside the cluster's folder."""
        try:
            passfile = conninfo_to_dict(dsn).get("passfile")
        except ProgrammingError:
            return False
        return passfile is not None and Path(str(passfile)).parent == self.state.postgres(self.name).parent

    def stop(self) -> None:
        """Stop the cluster if there is one. Blocking. Raises StartFailed."""
        if self._version_file.exists():
            self.cluster().stop()

    def is_running(self) -> bool:
        """Whether the cluster runs."""
        return self._version_file.exists() and self.cluster().is_running()

    def cluster(self) -> PostgresCluster:
        """Give the cluster, under the PostgreSQL version that made it. Raises StartFailed when that is gone."""
        version = self._version_file
        major = int(version.read_text(encoding="ascii")) if version.exists() else None
        embedded = self.state.root / "postgresql"
        binaries = find_postgres(os.environ, embedded_copy=embedded, major=major)
        folder = self.state.postgres(self.name)
        access = Access(folder, USERS[self.name], databases=(self.database,))
        return PostgresCluster(folder, binaries, self.state.logs / f"postgres-{self.name}.log", access)

    @property
    def _version_file(self) -> Path:
        return self.state.postgres(self.name) / "data" / "PG_VERSION"
