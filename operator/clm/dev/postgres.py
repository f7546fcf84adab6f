"""A PostgreSQL cluster of one's own: made, started and stopped without touching the system's.

Durable like a real one: fsync stays on and pages carry checksums. It listens on a unix socket in a folder of its own,
and a password is asked even there; the DSN names the file that holds it, not the password.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from clm.dev.state import write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    from clm.dev.postgres_binaries import PostgresBinaries

SUPERUSER = "postgres"
OWNER = "clm"

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 60
_PORT = 5432
_SOCKET_PATH_OCTETS = 107
_SOCKET_NAME = f".s.PGSQL.{_PORT}"

# For a machine that runs everything else as well.
_SETTINGS = """
listen_addresses = ''
port = {port}
unix_socket_directories = '{socket}'
unix_socket_permissions = 0700
max_connections = 60
shared_buffers = 128MB
max_wal_size = 512MB
min_wal_size = 80MB
wal_compression = on
dynamic_shared_memory_type = mmap
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
log_min_duration_statement = 1s
"""


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as: PostgreSQL refuses to run as root."""

    uid: int
    gid: int
    is_other: bool

    @classmethod
    def choose(cls) -> _Account:
        """Choose oneself, or for root the user `postgres`, or `nobody`."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), is_other=False)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(entry.pw_uid, entry.pw_gid, is_other=True)
        raise StartFailed("PostgreSQL does not run as root, and there is no user postgres or nobody")


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """One cluster below `folder`, which must be reachable for the user that the server runs as."""

    folder: Path
    binaries: PostgresBinaries
    log_file: Path
    _account: _Account = field(default_factory=_Account.choose, repr=False)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        """The folder of the unix socket: below `folder`, or in /tmp when that path is too long for a socket."""
        wanted = self.folder / "socket"
        if len(os.fsencode(wanted / _SOCKET_NAME)) <= _SOCKET_PATH_OCTETS:
            return wanted
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"clm-dev-{self._account.uid}-{digest}"

    def start(self) -> None:
        """Make the cluster if there is none, and start it if it does not run. Blocking. Raises StartFailed."""
        self._make_folders()
        if not self.data.exists():
            self._initialize()
        if self.is_running():
            return
        self._write_settings()
        self._pg_ctl(
            "start", "--wait", f"--timeout={_START_TIMEOUT_S}", f"--log={self._server_log}", timeout_s=_START_TIMEOUT_S
        )

    def stop(self) -> None:
        """Stop the server: connections are closed, everything is on disk. Blocking. Raises StartFailed."""
        if self.data.exists() and self.is_running():
            options = ("--wait", "--mode=fast", f"--timeout={_STOP_TIMEOUT_S}")
            self._pg_ctl("stop", *options, timeout_s=_STOP_TIMEOUT_S)
        if self.socket.parent != self.folder:
            shutil.rmtree(self.socket, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether a server runs on this data directory."""
        if not self.data.exists():
            return False
        done = self._run([self.binaries.program("pg_ctl"), "status", "-D", str(self.data)], timeout_s=20)
        return done.returncode == 0

    def create_database(self, name: str) -> str:
        """Make a database that the user `clm` owns, unless it is there; return its DSN. Raises StartFailed."""
        try:
            with psycopg.connect(self._dsn("postgres", SUPERUSER), autocommit=True) as connection:
                self._create_owner(connection)
                row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                if row is None:
                    statement = sql.SQL("CREATE DATABASE {} OWNER {}")
                    connection.execute(statement.format(sql.Identifier(name), sql.Identifier(OWNER)))
        except psycopg.Error as error:
            raise StartFailed(f"database {name} cannot be made: {error}") from None
        return self.dsn(name)

    def dsn(self, database: str) -> str:
        """DSN of a database as its owner. It names the password file and holds no password."""
        return self._dsn(database, OWNER)

    def superuser_dsn(self, database: str = "postgres") -> str:
        """DSN as the superuser, for tests and repair."""
        return self._dsn(database, SUPERUSER)

    @property
    def _server_log(self) -> Path:
        # The server's own user writes it; `log_file` is where people look for it.
        return self.folder / "server.log"

    def _dsn(self, database: str, user: str) -> str:
        return make_conninfo(
            host=str(self.socket), port=_PORT, dbname=database, user=user, passfile=str(self._passfile(user))
        )

    def _passfile(self, user: str) -> Path:
        return self.folder.parent / f"{self.folder.name}.{user}.pgpass"

    def _password(self, user: str) -> str:
        """Password of a user, made once."""
        file = self._passfile(user)
        if not file.exists():
            write_private(file, f"*:*:*:{user}:{secrets.token_hex(24)}\n")
        return file.read_text(encoding="utf-8").strip().rpartition(":")[2]

    def _create_owner(self, connection: psycopg.Connection) -> None:
        """Make the owner of the databases. It may make further roles, and is no superuser."""
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone() is None:
            statement = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(OWNER), sql.Literal(self._password(OWNER))))

    def _make_folders(self) -> None:
        for folder in (self.folder, self.socket):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.stat().st_uid not in {os.geteuid(), self._account.uid}:
                raise StartFailed(f"{folder} belongs to somebody else")
            if self._account.is_other:
                os.chown(folder, self._account.uid, self._account.gid)
        if not self.log_file.is_symlink():
            self.log_file.symlink_to(self._server_log)

    def _initialize(self) -> None:
        """Make the data directory; it gets its name when it is complete."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.folder / "password.new"
        write_private(password_file, self._password(SUPERUSER))
        if self._account.is_other:
            os.chown(password_file, self._account.uid, self._account.gid)
        command = [self.binaries.program("initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--data-checksums"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", f"--pwfile={password_file}"]
        command += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256"]
        try:
            done = self._run(command, timeout_s=_START_TIMEOUT_S)
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise StartFailed(f"initdb: {done.stderr.strip()}")
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\ninclude = 'clm.conf'\n")
        unfinished.rename(self.data)

    def _write_settings(self) -> None:
        file = self.data / "clm.conf"
        file.write_text(_SETTINGS.format(port=_PORT, socket=self.socket), encoding="utf-8")
        if self._account.is_other:
            os.chown(file, self._account.uid, self._account.gid)

    def _pg_ctl(self, act: str, *options: str, timeout_s: float) -> None:
        command = [self.binaries.program("pg_ctl"), act, "-D", str(self.data), "--silent", *options]
        done = self._run(command, timeout_s=timeout_s + 10)
        if done.returncode != 0:
            raise StartFailed(f"PostgreSQL does not {act}: {done.stderr.strip()}; log: {self.log_file}")

    def _run(self, command: list[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        account = self._account
        # The server inherits standard output and would hold a pipe open: pg_ctl's words go to a file.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            try:
                done = subprocess.run(
                    command,
                    user=account.uid if account.is_other else None,
                    group=account.gid if account.is_other else None,
                    extra_groups=[] if account.is_other else None,
                    env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    timeout=timeout_s,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise StartFailed(f"{command[0]}: {error}") from None
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, stderr=output.read())
