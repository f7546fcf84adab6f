"""Brings a database to the schema that the migration files describe, from as many places at once as you like.

The files are plain SQL that `psql -f` applies as well, and each registers itself in clm_meta.schema_migrations. The
runner adds what psql cannot: one applies while the others wait, a file that was edited after it was applied is
found out by its SHA-256, and a row that psql left is adopted.

It connects as clm_migrator, or as whoever owns the database, and acts as clm_owner where that is the owner: what a file
makes then belongs to a role that nobody logs in as.

It needs a direct connection: behind a pooler in transaction mode a session's lock would stay with another session.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import psycopg
from psycopg.rows import tuple_row

from clm.errors import DatabaseUnavailable, MigrationFailed
from clm.storage.migration_files import DatabaseName, MigrationFile, migrations_dir, read_migrations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

Connection = psycopg.Connection[tuple[Any, ...]]

# "CLM" and a number: one for each thing that is locked in a database.
_LOCK_KEY = 0x434C4D01
_POLL_S = 0.1

_LOCK = "SELECT pg_try_advisory_lock(%(key)s), pg_backend_pid()"
# In a pool, the next statement may run in another session than the one that took the lock.
_HELD = """
SELECT pg_backend_pid() = %(pid)s AND EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = %(pid)s
        AND ((classid::bigint << 32) | objid::bigint) = %(key)s)
"""

# The objects are the owner's, or before there are any it may make them. Looked up by name: a user without rights may
# not even ask where a table is.
_OWNED = """
SELECT EXISTS (
    SELECT FROM pg_roles r
    WHERE r.rolname = 'clm_owner' AND pg_has_role(session_user, r.oid, 'MEMBER') AND coalesce(
        (SELECT c.relowner = r.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'clm_meta' AND c.relname = 'schema_migrations'),
        has_database_privilege(r.oid, current_database(), 'CREATE')))
"""

_RECORDED = """
SELECT version, name, sha256, applied_at, applied_by FROM clm_meta.schema_migrations ORDER BY version
"""

_REGISTER = """
INSERT INTO clm_meta.schema_migrations (version, name, sha256, duration_ms)
VALUES (%(version)s, %(name)s, %(sha256)s, %(duration_ms)s)
ON CONFLICT (version) DO UPDATE SET sha256 = excluded.sha256, duration_ms = excluded.duration_ms
"""

_ADOPT = """
UPDATE clm_meta.schema_migrations SET sha256 = %(sha256)s WHERE version = %(version)s AND sha256 IS NULL
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """One migration that a run applied, or found applied by psql and adopted."""

    version: int
    name: str
    duration_ms: int | None

    @property
    def adopted(self) -> bool:
        """Whether psql had applied it."""
        return self.duration_ms is None

    def __str__(self) -> str:
        """Say what happened, in a line."""
        return f"{self.name} adopted" if self.adopted else f"{self.name} applied in {self.duration_ms} ms"


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """How one migration stands in a database.

    `changed`: the file is not the one that was applied. `unknown`: the database has had a migration that this
    release does not have, from a newer one.
    """

    version: int
    name: str
    state: Literal["pending", "applied", "adoptable", "changed", "unknown"]
    applied_at: datetime | None
    applied_by: str | None


class _Record(NamedTuple):
    version: int
    name: str
    sha256: bytes | None
    applied_at: datetime
    applied_by: str


def migrate(
    dsn: str, database: DatabaseName, *, lock_timeout_s: float = 60.0, folder: Path | None = None
) -> list[Applied]:
    """Apply the migrations that the database lacks, in order; each whole or not at all. Returns what was done.

    `lock_timeout_s` bounds the waiting for another runner. `folder` is by default that of the release. Raises
    MigrationFailed, which names the file: it does not apply, or was changed after it was applied, or another runner
    does not finish. Raises DatabaseUnavailable.
    """
    files = read_migrations(folder or migrations_dir(database))
    with _connected(dsn, database) as connection, _locked(connection, timeout_s=lock_timeout_s):
        recorded = _recorded(connection)
        _refuse_drift(files, recorded)
        return [
            _adopt(connection, file) if file.version in recorded else _apply(connection, file)
            for file in files
            if file.version not in recorded or recorded[file.version].sha256 is None
        ]


def status(dsn: str, database: DatabaseName, *, folder: Path | None = None) -> list[MigrationStatus]:
    """Compare the files with the database; changes nothing. Raises MigrationFailed, DatabaseUnavailable."""
    files = {file.version: file for file in read_migrations(folder or migrations_dir(database))}
    with _connected(dsn, database) as connection:
        recorded = _recorded(connection)
    return [
        _status(version, files.get(version), recorded.get(version))
        for version in sorted(files.keys() | recorded.keys())
    ]


@contextmanager
def _connected(dsn: str, database: DatabaseName) -> Iterator[Connection]:
    try:
        with psycopg.connect(
            dsn,
            autocommit=True,
            row_factory=tuple_row,
            prepare_threshold=None,
            connect_timeout=10,
            application_name="clm-migrate",
        ) as connection:
            # A migration may take long, but must not make everybody wait behind it for a lock.
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET lock_timeout = '5s'")
            _act_as_owner(connection)
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable(f"clm_{database}_db: {_first_line(error)}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        advice = "connect as clm_migrator after an administrator has run migrations/roles.sql in this database"
        raise MigrationFailed(f"clm_{database}_db: {_first_line(error)}; {advice}") from error


@contextmanager
def _locked(connection: Connection, *, timeout_s: float) -> Iterator[None]:
    """Hold the session lock of the runners. It goes with the session, so that a killed runner leaves none."""
    deadline = time.monotonic() + timeout_s
    while True:
        taken, pid = _row(connection, _LOCK, {"key": _LOCK_KEY})
        if taken:
            break
        if time.monotonic() >= deadline:
            raise MigrationFailed(f"another runner has been at work for more than {timeout_s:g} s")
        time.sleep(_POLL_S)
    if not _row(connection, _HELD, {"key": _LOCK_KEY, "pid": pid})[0]:
        raise MigrationFailed("the lock is held by another session: connect directly, not through a pooler")
    yield
    # After an error the session ends, and the lock with it; unlocking could only hide that error.
    connection.execute("SELECT pg_advisory_unlock(%(key)s)", {"key": _LOCK_KEY})


def _act_as_owner(connection: Connection) -> None:
    """Take the owner's role for the rest of the session, where the objects are its own or are to be."""
    if _row(connection, _OWNED, {})[0]:
        connection.execute("SET ROLE clm_owner")


def _recorded(connection: Connection) -> dict[int, _Record]:
    if _row(connection, "SELECT to_regclass('clm_meta.schema_migrations') IS NULL", {})[0]:
        return {}
    records = (_Record(*row) for row in connection.execute(_RECORDED).fetchall())
    return {record.version: record for record in records}


def _refuse_drift(files: Sequence[MigrationFile], recorded: Mapping[int, _Record]) -> None:
    for file in files:
        record = recorded.get(file.version)
        if record is None:
            later = [version for version in recorded if version > file.version]
            if later:
                raise MigrationFailed(f"{file.path.name}: not applied, but {max(later):03} is; the order was broken")
        elif record.name != file.name:
            raise MigrationFailed(f"{file.path.name}: number {file.version:03} was applied as {record.name}")
        elif record.sha256 is not None and record.sha256 != file.sha256:
            raise MigrationFailed(f"{file.path.name}: changed after it was applied; write a new file instead")


def _apply(connection: Connection, file: MigrationFile) -> Applied:
    started = time.monotonic()
    # The file before may have given everything to the owner.
    _act_as_owner(connection)
    try:
        if file.in_transaction:
            with connection.transaction():
                connection.execute(file.body.encode())
                return _register(connection, file, started)
        for statement in file.statements:
            connection.execute(statement.encode())
        return _register(connection, file, started)
    except psycopg.Error as error:
        if connection.broken:
            raise
        raise MigrationFailed(f"{file.path.name}: {_first_line(error)}") from error


def _register(connection: Connection, file: MigrationFile, started: float) -> Applied:
    # The file has registered itself; this adds what only the runner knows.
    duration_ms = round((time.monotonic() - started) * 1000)
    values = {"version": file.version, "name": file.name, "sha256": file.sha256, "duration_ms": duration_ms}
    connection.execute(_REGISTER, values)
    return Applied(file.version, file.name, duration_ms)


def _adopt(connection: Connection, file: MigrationFile) -> Applied:
    connection.execute(_ADOPT, {"version": file.version, "sha256": file.sha256})
    return Applied(file.version, file.name, None)


def _status(version: int, file: MigrationFile | None, record: _Record | None) -> MigrationStatus:
    if record is None:
        assert file is not None  # noqa: S101 - the caller has one of the two
        return MigrationStatus(version, file.name, "pending", None, None)
    state: Literal["applied", "adoptable", "changed", "unknown"] = "applied"
    if file is None:
        state = "unknown"
    elif record.name != file.name or record.sha256 not in {None, file.sha256}:
        state = "changed"
    elif record.sha256 is None:
        state = "adoptable"
    return MigrationStatus(version, record.name, state, record.applied_at, record.applied_by)


def _row(connection: Connection, query: str, values: Mapping[str, Any]) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None  # noqa: S101 - these queries always have a row
    return row


def _first_line(error: Exception) -> str:
    # What follows quotes the statement and the row.
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
