"""The runner: one schema whichever way it is applied, once however many run, and nothing after an edit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from clm.errors import DatabaseUnavailable, MigrationFailed
from clm.storage.migration_files import migrations_dir, read_migrations
from clm.storage.migrations import migrate, status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


REGISTER = "INSERT INTO clm_meta.schema_migrations (version, name) VALUES ({}, '{}') ON CONFLICT DO NOTHING;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the first core migration, that a test may add to."""
    target = tmp_path / "migrations"
    target.mkdir()
    shutil.copy(migrations_dir("core") / "001_init_core_schema.sql", target)
    return target


def add(folder: Path, version: int, name: str, statements: str) -> Path:
    """Write one more migration."""
    file = folder / f"{version:03}_{name}.sql"
    register = REGISTER.format(version, file.stem)
    file.write_text(f"-- A test's own.\n\nBEGIN;\n\n{statements}\n{register}\n\nCOMMIT;\n", encoding="utf-8")
    return file


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """All rows of one query."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_psql_applies_a_file_whole_or_not_at_all(empty_database: str, psql: Callable[[str, Path], None]) -> None:
    """A file that is applied again changes nothing, though psql goes on after errors."""
    file = read_migrations(migrations_dir("secure"))[0].path
    psql(empty_database, file)
    with psycopg.connect(empty_database) as connection:
        connection.execute("DROP VIEW expiring_certificates")
    psql(empty_database, file)
    views = query(empty_database, "SELECT relname FROM pg_class WHERE relname = 'expiring_certificates'")
    assert views == []


def test_what_psql_applied_is_adopted(empty_database: str, psql: Callable[[str, Path], None]) -> None:
    """The runner takes over where psql was: it records the hash, applies the rest, and then finds nothing to do."""
    first, *others = read_migrations(migrations_dir("secure"))
    psql(empty_database, first.path)
    assert [row.state for row in status(empty_database, "secure")] == ["adoptable", *["pending" for _ in others]]
    applied = migrate(empty_database, "secure")
    assert [(row.version, row.adopted) for row in applied] == [(1, True), *((file.version, False) for file in others)]
    assert {row.state for row in status(empty_database, "secure")} == {"applied"}
    assert migrate(empty_database, "secure") == []


def test_six_runners_at_once_apply_once(empty_database: str, folder: Path) -> None:
    """Each migration is applied by one of the runners; the others wait and find nothing to do."""
    add(folder, 2, "slow", "CREATE TABLE clm_meta.slow (id int); SELECT pg_sleep(0.3);")
    together = threading.Barrier(6)

    def run(_: int) -> list[str]:
        together.wait()
        return [row.name for row in migrate(empty_database, "core", folder=folder)]

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(run, range(6)))
    assert sorted(results, reverse=True) == [["001_init_core_schema", "002_slow"], [], [], [], [], []]


def test_an_edited_file_is_refused(empty_database: str, folder: Path) -> None:
    """A file that was changed after it was applied stops the runner, which names it and applies nothing more."""
    migrate(empty_database, "core", folder=folder)
    file = folder / "001_init_core_schema.sql"
    file.write_text(file.read_text(encoding="utf-8") + "-- a harmless remark\n", encoding="utf-8")
    add(folder, 2, "more", "CREATE TABLE clm_meta.more (id int);")
    with pytest.raises(MigrationFailed, match=r"001_init_core_schema\.sql: changed after it was applied"):
        migrate(empty_database, "core", folder=folder)
    assert [row.state for row in status(empty_database, "core", folder=folder)] == ["changed", "pending"]
    assert query(empty_database, "SELECT to_regclass('clm_meta.more')") == [(None,)]


def test_a_renamed_file_is_refused(empty_database: str, folder: Path) -> None:
    """Two branches that took the same number are found out."""
    migrate(empty_database, "core", folder=folder)
    (folder / "001_init_core_schema.sql").rename(folder / "001_other.sql")
    with pytest.raises(MigrationFailed, match=r"001_other\.sql: number 001 was applied as 001_init_core_schema"):
        migrate(empty_database, "core", folder=folder)


def test_a_failing_file_leaves_nothing(empty_database: str, folder: Path) -> None:
    """What fails is rolled back whole and not recorded; what came before stays; mended, it is applied."""
    add(folder, 2, "good", "CREATE TABLE clm_meta.good (id int);")
    add(folder, 3, "bad", "CREATE TABLE clm_meta.bad (id int); SELECT 1 / 0;")
    with pytest.raises(MigrationFailed, match=r"003_bad\.sql: division by zero"):
        migrate(empty_database, "core", folder=folder)
    assert [row.state for row in status(empty_database, "core", folder=folder)] == ["applied", "applied", "pending"]
    tables = "SELECT to_regclass('clm_meta.good')::text, to_regclass('clm_meta.bad')::text"
    assert query(empty_database, tables) == [("clm_meta.good", None)]
    add(folder, 3, "bad", "CREATE TABLE clm_meta.bad (id int);")
    assert [row.version for row in migrate(empty_database, "core", folder=folder)] == [3]


def test_a_killed_runner_blocks_nobody(empty_database: str, folder: Path) -> None:
    """A runner that is killed in the middle of a file leaves neither half of it nor its lock."""
    file = add(folder, 2, "slow", "CREATE TABLE clm_meta.slow (id int); SELECT pg_sleep(60);")
    code = "import sys; from pathlib import Path; from clm.storage.migrations import migrate;"
    code += " migrate(sys.argv[1], 'core', folder=Path(sys.argv[2]))"
    runner = subprocess.Popen([sys.executable, "-c", code, empty_database, str(folder)], env=_environment())
    sleeping = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    try:
        _until(lambda: bool(query(empty_database, sleeping)))
    finally:
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait(10)
    # The server notices a vanished client when it writes to it; an administrator need not wait for that.
    query(empty_database, f"SELECT pg_terminate_backend(pid) FROM ({sleeping}) AS orphans")
    add(folder, 2, "slow", "CREATE TABLE clm_meta.quick (id int);")
    assert [row.name for row in migrate(empty_database, "core", folder=folder)] == [file.stem]


def test_waiting_for_another_runner_ends(empty_database: str, folder: Path) -> None:
    """The lock is the one of all runners, and waiting for it is bounded."""
    with psycopg.connect(empty_database, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [0x434C4D01])
        with pytest.raises(MigrationFailed, match="another runner"):
            migrate(empty_database, "core", lock_timeout_s=0.3, folder=folder)
    assert [row.version for row in migrate(empty_database, "core", folder=folder)] == [1]


def test_outside_a_transaction(empty_database: str, folder: Path) -> None:
    """A file that says so is applied statement by statement, which CREATE INDEX CONCURRENTLY needs."""
    register = REGISTER.format(2, "002_index")
    (folder / "002_index.sql").write_text(
        "-- clm:no-transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_created_at ON public.users (created_at);\n"
        f"-- It is on record when it stands.\n{register}\n",
        encoding="utf-8",
    )
    assert [row.version for row in migrate(empty_database, "core", folder=folder)] == [1, 2]
    index = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_created_at'::regclass"
    assert query(empty_database, index) == [(True,)]
    assert migrate(empty_database, "core", folder=folder) == []


def test_a_newer_database_is_left_alone(empty_database: str, folder: Path) -> None:
    """An older release finds a database that a newer one has migrated, and changes nothing."""
    newer = add(folder, 2, "newer", "CREATE TABLE clm_meta.newer (id int);")
    migrate(empty_database, "core", folder=folder)
    newer.unlink()
    assert migrate(empty_database, "core", folder=folder) == []
    assert [row.state for row in status(empty_database, "core", folder=folder)] == ["applied", "unknown"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("003_gap.sql", "BEGIN;\nCOMMIT;\n", "expected number 002"),
        ("001_twice.sql", "BEGIN;\nCOMMIT;\n", "expected number 002"),
        ("2_short.sql", "BEGIN;\nCOMMIT;\n", "must be named like"),
        ("002_open.sql", "BEGIN;\nSELECT 1;\n", "must begin with BEGIN; and end with COMMIT;"),
        ("002_bare.sql", "SELECT 1;\nCOMMIT;\n", "must begin with BEGIN; and end with COMMIT;"),
        ("002_both.sql", "-- clm:no-transaction\nBEGIN;\nSELECT 1;\nCOMMIT;\n", "no function body and no BEGIN"),
    ],
)
def test_a_malformed_file_is_refused(empty_database: str, folder: Path, name: str, text: str, complaint: str) -> None:
    """What cannot be applied as one is refused by name."""
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(MigrationFailed, match=rf"({name[:3]}|001).*{complaint}"):
        migrate(empty_database, "core", folder=folder)


def test_a_database_that_is_away(tmp_path: Path) -> None:
    """No server is no failed migration: trying again later may work."""
    with pytest.raises(DatabaseUnavailable, match="clm_core_db"):
        migrate(f"host={tmp_path} dbname=nothing", "core")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
