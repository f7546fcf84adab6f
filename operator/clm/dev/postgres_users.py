"""Makes a database and its users in a cluster of the environment, with the file that an administrator would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from clm.errors import StartFailed
from clm.storage.migration_files import roles_file

if TYPE_CHECKING:
    from clm.dev.postgres import PostgresCluster

    Connection = psycopg.Connection[tuple[Any, ...]]

# The one user that environments of older releases had; it owned the databases.
_FORMER_OWNER = "clm"


def provision(cluster: PostgresCluster, database: str) -> None:
    """Make a database and its users, or bring those of an older release to the present form. Safe to repeat.

    Raises StartFailed.
    """
    try:
        with psycopg.connect(cluster.superuser_dsn(), autocommit=True) as connection:
            if not _exists(connection, "SELECT FROM pg_database WHERE datname = %s", database):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        with psycopg.connect(cluster.superuser_dsn(database), autocommit=True) as connection:
            connection.execute(roles_file().read_bytes())
            _take_over(connection)
            for user in cluster.access.users:
                _give_password(connection, user, *cluster.access.password(user))
    except psycopg.Error as error:
        raise StartFailed(f"database {database} cannot be made ready: {error}") from None
    cluster.access.passfile(_FORMER_OWNER).unlink(missing_ok=True)


def _take_over(connection: Connection) -> None:
    """Leave the former owner nothing, not even a way in."""
    if _exists(connection, "SELECT FROM pg_roles WHERE rolname = %s", _FORMER_OWNER):
        former = sql.Identifier(_FORMER_OWNER)
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO clm_owner").format(former))
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN NOCREATEROLE PASSWORD NULL").format(former))


def _give_password(connection: Connection, user: str, password: str, made_now: bool) -> None:  # noqa: FBT001 - a pair
    if not made_now and _exists(
        connection, "SELECT FROM pg_authid WHERE rolname = %s AND rolpassword IS NOT NULL", user
    ):
        return
    # What is sent is what the server stores: the password itself would stand in its log when the statement is slow.
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), sql.Literal(verifier.decode()))
    connection.execute(statement)


def _exists(connection: Connection, query: str, name: str) -> bool:
    return connection.execute(query.encode(), [name]).fetchone() is not None
