"""Who may connect to a cluster of the environment, and with what: TLS, a certificate and a password, each of their own.

As in production, nothing crosses the network in the clear and every process is a user of its own. Only the superuser,
who makes databases and users, comes by the unix socket. A DSN names the files that hold its secrets.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psycopg.conninfo import make_conninfo

from clm.dev.identities import Identities, make_postgres_identities
from clm.dev.ports import LOOPBACK
from clm.dev.state import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

DatabaseName = Literal["secure", "core"]

SUPERUSER = "postgres"
MIGRATOR = "clm_migrator"
RESPONDER = "clm_responder"
OPERATORS: dict[DatabaseName, str] = {"secure": "clm_operator_secure", "core": "clm_operator_core"}
USERS: dict[DatabaseName, tuple[str, ...]] = {
    "secure": (MIGRATOR, OPERATORS["secure"], "clm_auditor", "clm_archiver"),
    "core": (MIGRATOR, OPERATORS["core"], "clm_auditor", "clm_archiver", RESPONDER, "clm_webhook", "clm_api"),
}

_HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """The users of one cluster, and their files beside its folder. `databases` are those that they may connect to."""

    folder: Path
    users: Sequence[str]
    databases: Sequence[str] = ("all",)

    def dsn(self, database: str, user: str, *, port: int) -> str:
        """DSN of a user: verified TLS, a client certificate, a password. Holds no secret."""
        identity = self._identities.of(user)
        return make_conninfo(
            host=_HOST,
            hostaddr=LOOPBACK,
            port=port,
            dbname=database,
            user=user,
            passfile=str(self.passfile(user)),
            sslmode="verify-full",
            sslrootcert=str(self._identities.postgres_ca),
            sslcert=str(identity.certificate),
            sslkey=str(identity.key),
            ssl_min_protocol_version="TLSv1.3",
            channel_binding="require",
        )

    def superuser_dsn(self, database: str, *, socket: Path, port: int) -> str:
        """DSN of the superuser, by the unix socket. Holds no secret."""
        passfile = str(self.passfile(SUPERUSER))
        return make_conninfo(host=str(socket), port=port, dbname=database, user=SUPERUSER, passfile=passfile)

    def passfile(self, user: str) -> Path:
        """File that holds a user's password, as libpq reads it."""
        return self.folder.parent / f"{self.folder.name}.{user}.pgpass"

    def password(self, user: str) -> tuple[str, bool]:
        """Password of a user, and whether it was made just now."""
        file = self.passfile(user)
        missing = not file.exists()
        if missing:
            write_private(file, f"*:*:*:{user}:{secrets.token_hex(24)}\n")
        return file.read_text(encoding="utf-8").strip().rpartition(":")[2], missing

    def server_files(self, *, now: datetime) -> dict[str, bytes]:
        """Files of the data directory by which the server tells who may connect, by name."""
        identities = make_postgres_identities(self._identities.folder, clients=self.users, now=now)
        server = identities.of("postgres")
        return {
            "pg_hba.conf": self._rules().encode(),
            "server.crt": server.certificate.read_bytes(),
            "server.key": server.key.read_bytes(),
            "clients-ca.crt": identities.postgres_ca.read_bytes(),
        }

    @property
    def _identities(self) -> Identities:
        return Identities(self.folder.parent / f"{self.folder.name}-identities")

    def _rules(self) -> str:
        """Text of pg_hba.conf; what no line allows is refused."""
        databases = ",".join(self.databases)
        with_certificate = f"{LOOPBACK}/32 scram-sha-256 clientcert=verify-full"
        lines = [f"local all {SUPERUSER} scram-sha-256"]
        lines += [f"hostssl {databases} {user} {with_certificate}" for user in self.users]
        return "".join(f"{line}\n" for line in lines)
