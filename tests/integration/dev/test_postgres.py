"""The embedded PostgreSQL is durable and private, and survives what happens to a machine."""

from __future__ import annotations

import os
import signal
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from clm.dev import postgres_binaries
from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_binaries import find_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator


def make(folder: Path) -> PostgresCluster:
    """Make a cluster, not started."""
    binaries = find_postgres(os.environ, embedded_copy=folder.parent / "embedded")
    return PostgresCluster(folder, binaries, folder.with_suffix(".log"))


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[PostgresCluster]:
    """A running cluster of one's own."""
    cluster = make(open_folder / "cluster")
    cluster.start()
    yield cluster
    cluster.stop()


def value(dsn: str, query: str) -> object:
    """Give the one value that a query gives."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_everything_survives_down_and_up(cluster: PostgresCluster) -> None:
    """Rows, owner and password are the same after a stop and a start."""
    dsn = cluster.create_database("clm_test_db")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS v")
    assert cluster.is_running()
    cluster.stop()
    assert not cluster.is_running()
    cluster.stop()
    cluster.start()
    cluster.start()
    assert cluster.create_database("clm_test_db") == dsn
    assert value(dsn, "SELECT v FROM t") == 42


def test_a_killed_server_starts_again(cluster: PostgresCluster) -> None:
    """What was committed before SIGKILL is there afterwards: fsync is on, and a stale pid file does not hinder."""
    dsn = cluster.create_database("clm_test_db")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS v")
    pid = int((cluster.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    os.close(descriptor)
    for _ in range(200):
        if not cluster.is_running():
            break
    cluster.start()
    assert value(dsn, "SELECT v FROM t") == 42


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on"), ("data_checksums", "on")],
)
def test_durable(cluster: PostgresCluster, setting: str, expected: str) -> None:
    """No setting trades durability for speed."""
    assert value(cluster.superuser_dsn(), f"SHOW {setting}") == expected


def test_private(cluster: PostgresCluster) -> None:
    """It listens on no network, its folders are closed, a password is asked, and the DSN does not hold it."""
    dsn = cluster.create_database("clm_test_db")
    assert value(dsn, "SHOW listen_addresses") == ""
    assert "password" not in dsn
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    passfile = str(parameters.pop("passfile"))
    assert stat.S_IMODE(Path(passfile).stat().st_mode) == 0o600
    for folder in (cluster.folder, cluster.socket, cluster.data):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(**{key: str(part) for key, part in parameters.items()}, passfile="/dev/null")  # type: ignore[arg-type]


def test_the_owner_is_no_superuser(cluster: PostgresCluster) -> None:
    """The operator's user owns its database, may install what the migrations need, and is bound by rights."""
    dsn = cluster.create_database("clm_test_db")
    assert value(dsn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    with psycopg.connect(dsn) as connection:
        connection.execute('CREATE EXTENSION "uuid-ossp"')
        connection.execute("CREATE EXTENSION pgcrypto")


def test_a_long_path_gets_a_short_socket(open_folder: Path) -> None:
    """The path of a unix socket is limited (unix(7)); a deep state folder works all the same, and leaves nothing."""
    deep = open_folder / ("d" * 100)
    deep.mkdir(mode=0o711)
    cluster = make(deep / "cluster")
    try:
        cluster.start()
        assert value(cluster.superuser_dsn(), "SELECT 1") == 1
        assert cluster.socket.parent != cluster.folder
    finally:
        cluster.stop()
    assert not cluster.socket.exists()


def test_the_substitute_for_uuid_ossp_gives_what_uuid_ossp_gives(cluster: PostgresCluster) -> None:
    """A wheel without that extension gets one with the same results."""
    script = postgres_binaries._SCRIPT
    with psycopg.connect(cluster.superuser_dsn()) as connection:
        connection.execute('CREATE SCHEMA real; CREATE EXTENSION "uuid-ossp" SCHEMA real; CREATE SCHEMA substitute')
        connection.execute(f"SET search_path = substitute; {script}".encode())
        for function in ("uuid_nil()", "uuid_ns_dns()", "uuid_ns_url()", "uuid_ns_oid()", "uuid_ns_x500()"):
            row = connection.execute(f"SELECT substitute.{function} = real.{function}".encode()).fetchone()
            assert row == (True,), function
        differing = connection.execute(
            "SELECT count(*) FROM generate_series(1, 500) n WHERE"
            " substitute.uuid_generate_v3(real.uuid_ns_url(), n || 'ä')"
            " <> real.uuid_generate_v3(real.uuid_ns_url(), n || 'ä')"
        ).fetchone()
        assert differing == (0,)
        row = connection.execute("SELECT substitute.uuid_generate_v4()").fetchone()
        assert row is not None
        assert row[0].version == 4


def test_an_installation_is_completed_once(tmp_path: Path) -> None:
    """The copy gets the extension, and a second time nothing is copied."""
    source, target = tmp_path / "pginstall", tmp_path / "copy"
    (source / "bin").mkdir(parents=True)
    (source / "share" / "extension").mkdir(parents=True)
    (source / "bin" / "postgres").write_text("#!/bin/sh\n", encoding="ascii")
    postgres_binaries.complete_embedded(source, target)
    assert os.access(target / "bin" / "postgres", os.X_OK)
    assert "trusted = true" in (target / "share" / "extension" / "uuid-ossp.control").read_text(encoding="ascii")
    before = target.stat().st_ino
    postgres_binaries.complete_embedded(source, target)
    assert target.stat().st_ino == before


def test_both_clusters_complete_an_installation_at_once(tmp_path: Path) -> None:
    """The two databases start at the same time and need the same copy."""
    source, target = tmp_path / "pginstall", tmp_path / "copy"
    (source / "bin").mkdir(parents=True)
    (source / "share" / "extension").mkdir(parents=True)
    for number in range(300):
        (source / "bin" / f"program{number}").touch()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(postgres_binaries.complete_embedded, source, target) for _ in range(8)]
    for future in futures:
        future.result()
    assert len(list((target / "bin").iterdir())) == 300
