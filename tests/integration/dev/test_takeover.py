"""A state folder of an older release, where one user `clm` owned the databases, is taken over with all in it."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clm.dev.databases import DATABASES, DevDatabase
from clm.dev.state import StateFolder, write_private
from clm.storage.migration_files import migrations_dir
from clm.storage.migrations import migrate, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clm.dev.postgres import PostgresCluster
    from clm.dev.postgres_access import DatabaseName

# How many migrations each database had, and a table that they filled or that was filled since.
FORMER = {"secure": 2, "core": 1}
SETTINGS = "listen_addresses = ''\nport = 5432\nunix_socket_directories = '{}'\n"
RECORD = """
INSERT INTO {} (organization_id, actor_type, actor_id, action, object_type, object_id)
SELECT gen_random_uuid(), 'operator', 'former', 'certificate.issue', 'certificate', n::text
FROM generate_series(1, 7) AS n
"""


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[DevDatabase]:
    """One of the two databases of an environment that was not started yet."""
    state = StateFolder(open_folder / "state")
    state.prepare()
    database = DevDatabase(state, request.param)
    yield database
    database.stop()


@pytest.mark.parametrize("running", [True, False])
def test_nothing_is_lost(database: DevDatabase, tmp_path: Path, *, running: bool) -> None:
    """Rows, partitions and records stay; everything has its new owner, the guards stand, and `clm` is shut out."""
    cluster = database.cluster()
    former = make_former(cluster, database.name, tmp_path)
    if not running:
        cluster.stop()
    dsn = database.start()
    log = {"secure": "secure_audit_log", "core": "audit_log"}[database.name]
    with psycopg.connect(dsn, autocommit=True) as operator:
        assert operator.execute(f"SELECT count(*) FROM {log}".encode()).fetchone() == (7,)
        operator.execute(RECORD.format(log).encode())
    with psycopg.connect(cluster.superuser_dsn(database.database), autocommit=True) as connection:
        owners = connection.execute("""
            SELECT DISTINCT relowner::regrole::text FROM pg_class
            WHERE relnamespace::regnamespace::text ~ '^(public|clm_)'
            UNION SELECT extowner::regrole::text FROM pg_extension WHERE extname <> 'plpgsql'
            UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()
        """).fetchall()
        assert owners == [("clm_owner",)]
        former_user = "SELECT rolcanlogin, rolcreaterole, rolpassword FROM pg_authid WHERE rolname = 'clm'"
        assert connection.execute(former_user).fetchone() == (False, False, None)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="records are only added"):
            connection.execute(f"TRUNCATE clm_audit_parts.{log}_former".encode())
    assert {row.state for row in status(cluster.dsn(database.database, "clm_migrator"), database.name)} == {"applied"}
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(former)
    assert not cluster.access.passfile("clm").exists()
    assert database.start() == dsn


def make_former(cluster: PostgresCluster, name: DatabaseName, tmp_path: Path) -> str:
    """Make a running cluster as the older release made it; give the DSN that its operator had."""
    cluster._make_folders()
    cluster._initialize()
    (cluster.data / "clm.conf").write_text(SETTINGS.format(cluster.socket), encoding="utf-8")
    if cluster._account.is_other:
        os.chown(cluster.data / "clm.conf", cluster._account.uid, cluster._account.gid)
    cluster._pg_ctl("start", "--wait", f"--log={cluster.folder / 'server.log'}", timeout_s=60)
    superuser = cluster.access.superuser_dsn("postgres", socket=cluster.socket, port=5432)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE ROLE clm LOGIN CREATEROLE PASSWORD 'former'")
        connection.execute(f"CREATE DATABASE clm_{name}_db OWNER clm".encode())
    passfile = cluster.access.passfile("clm")
    write_private(passfile, "*:*:*:clm:former\n")
    former = make_conninfo(superuser, user="clm", dbname=f"clm_{name}_db", passfile=str(passfile))
    folder = tmp_path / "former"
    folder.mkdir()
    for file in sorted(migrations_dir(name).glob("*.sql"))[: FORMER[name]]:
        shutil.copy(file, folder)
    migrate(former, name, folder=folder)
    log = {"secure": "secure_audit_log", "core": "audit_log"}[name]
    now = f"{datetime.now(UTC).year + 5}-01-01"
    with psycopg.connect(former, autocommit=True) as connection:
        for partition, first, last in (
            (f"{log}_former", "2020-01-01", "2021-01-01"),
            (f"{log}_now", "2021-01-01", now),
        ):
            bounds = f"FOR VALUES FROM ('{first}') TO ('{last}')"
            connection.execute(f"CREATE TABLE clm_audit_parts.{partition} PARTITION OF {log} {bounds}".encode())
        connection.execute(RECORD.format(log).encode())
    return former
