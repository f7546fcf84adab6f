"""The embedded PostgreSQL is durable and private, and survives what happens to a machine."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clm.dev import postgres_binaries
from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, USERS, Access
from clm.dev.postgres_binaries import find_postgres
from clm.dev.postgres_users import provision

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASE = "clm_test_db"


def make(folder: Path) -> PostgresCluster:
    """Make a cluster for clm_test_db, not started."""
    binaries = find_postgres(os.environ, embedded_copy=folder.parent / "embedded")
    access = Access(folder, USERS["secure"], databases=(DATABASE,))
    return PostgresCluster(folder, binaries, folder.with_suffix(".log"), access)


@pytest.fixture
def cluster(open_folder: Path) -> Iterator[PostgresCluster]:
    """A running cluster of one's own."""
    cluster = make(open_folder / "cluster")
    cluster.start()
    yield cluster
    cluster.stop()


def beside_processes(name: str) -> Iterator[bytes]:
    """Content of one file of every process that may be looked at."""
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        with contextlib.suppress(OSError):
            yield path.read_bytes()


def fill(cluster: PostgresCluster) -> None:
    """Commit something."""
    with psycopg.connect(cluster.superuser_dsn(DATABASE)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS v")
        connection.execute(f"GRANT SELECT ON t TO {MIGRATOR}")


def value(dsn: str, query: str) -> object:
    """Give the one value that a query gives."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_everything_survives_down_and_up(cluster: PostgresCluster) -> None:
    """Rows, users, passwords and certificates are the same after a stop and a start."""
    provision(cluster, DATABASE)
    fill(cluster)
    dsn = cluster.dsn(DATABASE, MIGRATOR)
    files = {path: path.read_bytes() for path in cluster.folder.parent.glob("cluster*/*.crt")}
    assert cluster.is_running()
    cluster.stop()
    assert not cluster.is_running()
    cluster.stop()
    cluster.start()
    cluster.start()
    provision(cluster, DATABASE)
    assert cluster.dsn(DATABASE, MIGRATOR) == dsn
    assert value(dsn, "SELECT v FROM t") == 42
    assert files == {path: path.read_bytes() for path in files}


def test_a_killed_server_starts_again(cluster: PostgresCluster) -> None:
    """What was committed before SIGKILL is there afterwards: fsync is on, and a stale pid file does not hinder."""
    provision(cluster, DATABASE)
    fill(cluster)
    kill_postmaster(cluster)
    cluster.start()
    assert value(cluster.dsn(DATABASE, MIGRATOR), "SELECT v FROM t") == 42


def test_children_of_a_killed_server_are_waited_for(cluster: PostgresCluster) -> None:
    """While they hold the shared memory no other server can start; that passes, and is no reason to fail."""
    provision(cluster, DATABASE)
    fill(cluster)
    pid = value(cluster.superuser_dsn(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
    assert isinstance(pid, int)
    child = os.pidfd_open(pid)
    try:
        # One that is stopped does not notice that its parent has gone.
        signal.pidfd_send_signal(child, signal.SIGSTOP)
        kill_postmaster(cluster)
        with ThreadPoolExecutor(1) as pool:
            start = pool.submit(cluster.start)
            deadline = time.monotonic() + 30
            while "pre-existing shared memory block" not in cluster.log_file.read_text(encoding="utf-8"):
                assert time.monotonic() < deadline
                assert not start.done()
            signal.pidfd_send_signal(child, signal.SIGCONT)
            start.result()
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
    assert value(cluster.dsn(DATABASE, MIGRATOR), "SELECT v FROM t") == 42


def kill_postmaster(cluster: PostgresCluster) -> None:
    """Kill the server's first process alone, as the kernel does when memory runs out."""
    descriptor = os.pidfd_open(cluster._postmaster())
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert select.select([descriptor], [], [], 30)[0]
    os.close(descriptor)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on"), ("data_checksums", "on")],
)
def test_durable(cluster: PostgresCluster, setting: str, expected: str) -> None:
    """No setting trades durability for speed."""
    assert value(cluster.superuser_dsn(), f"SHOW {setting}") == expected


def test_private(cluster: PostgresCluster) -> None:
    """It listens on the loopback address alone, its folders and secrets are closed, and a DSN names only files."""
    provision(cluster, DATABASE)
    dsn = cluster.dsn(DATABASE, MIGRATOR)
    assert value(cluster.superuser_dsn(), "SHOW listen_addresses") == "127.0.0.1"
    parameters = conninfo_to_dict(dsn)
    assert "password" not in parameters
    for secret in ("passfile", "sslkey"):
        assert stat.S_IMODE(Path(str(parameters[secret])).stat().st_mode) == 0o600
    for folder in (cluster.folder, cluster.socket, cluster.data, Path(str(parameters["sslkey"])).parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_verified_tls_for_a_user(cluster: PostgresCluster) -> None:
    """Password, certificate and TLS 1.3; and the password is kept as SCRAM."""
    provision(cluster, DATABASE)
    with psycopg.connect(cluster.dsn(DATABASE, MIGRATOR)) as connection:
        row = connection.execute(
            "SELECT current_user::text, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert row == (MIGRATOR, "TLSv1.3", f"/CN={MIGRATOR}")
    stored = "SELECT count(*) FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256$%'"
    assert value(cluster.superuser_dsn(), stored) == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sslmode": "disable", "channel_binding": "disable"}, "no pg_hba.conf entry"),
        ({"passfile": "/dev/null"}, "no password supplied"),
        ({"passfile": "/dev/null", "password": "wrong"}, "password authentication failed"),
        ({"sslcert": "/none", "sslkey": "/none"}, "requires a valid client certificate"),
        ({"user": "clm_auditor", "passfile": None}, "authentication failed"),
        ({"dbname": "postgres"}, "no pg_hba.conf entry"),
        ({"user": "postgres"}, "no pg_hba.conf entry"),
        ({"hostaddr": "127.0.0.1", "host": "db.example"}, "does not match host name"),
        ({"sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}, "certificate verify failed|does not exist"),
        ({"ssl_min_protocol_version": "TLSv1.2", "ssl_max_protocol_version": "TLSv1.2"}, "protocol version"),
    ],
)
def test_nothing_less_will_do(cluster: PostgresCluster, changes: dict[str, str | None], complaint: str) -> None:
    """No plaintext, no missing or wrong password, no other's certificate, no other database, no other server."""
    provision(cluster, DATABASE)
    if "passfile" in changes and changes["passfile"] is None:
        changes = {**changes, "passfile": str(cluster.access.passfile("clm_auditor"))}
    with pytest.raises(psycopg.OperationalError, match=complaint):
        psycopg.connect(make_conninfo(cluster.dsn(DATABASE, MIGRATOR), **changes))


def test_the_socket_is_for_the_superuser(cluster: PostgresCluster) -> None:
    """Nobody else comes without TLS that way."""
    provision(cluster, DATABASE)
    local = make_conninfo(
        cluster.superuser_dsn(DATABASE), user=MIGRATOR, passfile=str(cluster.access.passfile(MIGRATOR))
    )
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(local)


def test_no_password_in_the_log_or_beside_a_process(cluster: PostgresCluster) -> None:
    """However much is logged: what is sent is what the server stores."""
    with psycopg.connect(cluster.superuser_dsn(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        connection.execute("SELECT pg_reload_conf()")
    provision(cluster, DATABASE)
    log = cluster.log_file.read_text(encoding="utf-8")
    assert "ALTER ROLE" in log
    lines = [line for name in ("cmdline", "environ") for line in beside_processes(name)]
    for user in cluster.access.users:
        password, made_now = cluster.access.password(user)
        assert not made_now
        assert password not in log
        assert not any(password.encode() in line for line in lines)


def test_new_certificates_are_taken_up_at_once(cluster: PostgresCluster) -> None:
    """A server that runs reads what was made anew, without a restart."""
    provision(cluster, DATABASE)
    started = value(cluster.superuser_dsn(), "SELECT pg_postmaster_start_time()")
    ca = Path(str(conninfo_to_dict(cluster.dsn(DATABASE, MIGRATOR))["sslrootcert"]))
    before = ca.read_bytes()
    ca.unlink()
    cluster.start()
    assert ca.read_bytes() != before
    deadline = time.monotonic() + 20
    while True:
        try:
            assert value(cluster.dsn(DATABASE, MIGRATOR), "SELECT current_user::text") == MIGRATOR
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
    assert value(cluster.superuser_dsn(), "SELECT pg_postmaster_start_time()") == started


def test_the_migrator_is_no_superuser(cluster: PostgresCluster) -> None:
    """It may become the owner, who may install what the migrations need, and is bound by rights."""
    provision(cluster, DATABASE)
    with psycopg.connect(cluster.dsn(DATABASE, MIGRATOR), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE EXTENSION pgcrypto SCHEMA public")
        connection.execute("SET ROLE clm_owner")
        connection.execute('CREATE EXTENSION "uuid-ossp" SCHEMA public')
        connection.execute("CREATE EXTENSION pgcrypto SCHEMA public")
        row = connection.execute("SELECT bool_or(rolsuper) FROM pg_roles WHERE rolname LIKE 'clm%'").fetchone()
        assert row == (False,)


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
