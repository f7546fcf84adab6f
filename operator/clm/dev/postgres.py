"""A PostgreSQL cluster of one's own: made, started and stopped without touching the system's.

Durable like a real one: fsync stays on and pages carry checksums. It listens on the loopback address, for TLS only, and
on a unix socket in a folder of its own for the superuser.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from clm.dev.ports import LOOPBACK, choose_ports, remembered_ports
from clm.dev.postgres_access import SUPERUSER
from clm.dev.processes import has_ended
from clm.dev.state import write_private
from clm.errors import StartFailed

if TYPE_CHECKING:
    from clm.dev.postgres_access import Access
    from clm.dev.postgres_binaries import PostgresBinaries

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 60
_POLL_S = 0.2
_SOCKET_PATH_OCTETS = 107
_SOCKET_NAME = ".s.PGSQL.65535"

# What the server says while one before it, whose postmaster was killed, is not gone yet: its children hold the shared
# memory until they have noticed, and its id is taken until somebody has waited for it.
_PREDECESSOR = (b"pre-existing shared memory block", b'lock file "postmaster.pid" already exists')

# For a machine that runs everything else as well. Values of parameters, which may be wrapped keys, stay out of the log.
_SETTINGS_FILE = "clm.conf"
_SETTINGS = """
listen_addresses = '{host}'
port = {port}
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
ssl_ca_file = 'clients-ca.crt'
ssl_min_protocol_version = 'TLSv1.3'
password_encryption = 'scram-sha-256'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
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
    access: Access
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

    @property
    def port(self) -> int:
        """The port, kept while it is free. Raises StartFailed when the server was never started."""
        try:
            return remembered_ports(self._ports_file)[SUPERUSER]
        except KeyError:
            raise StartFailed(f"{self.folder} has no port yet") from None

    def start(self) -> None:
        """Make the cluster if there is none, and have it run as it is described here. Blocking. Raises StartFailed."""
        self._make_folders()
        if not self.data.exists():
            self._initialize()
        running = self.is_running()
        if not (running and remembered_ports(self._ports_file)):
            choose_ports(self._ports_file, [SUPERUSER])
        changed = self._write_files()
        if running and _SETTINGS_FILE in changed:
            self.stop()
            self._make_folders()
            running = False
        if not running:
            self._start_server()
        elif changed:
            self._pg_ctl("reload", timeout_s=_START_TIMEOUT_S)

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
        # For pg_ctl a killed postmaster that nobody has waited for runs still.
        return done.returncode == 0 and not has_ended(self._postmaster())

    def dsn(self, database: str, user: str) -> str:
        """DSN of a database as one of its users. Holds no secret. Raises StartFailed before the first start."""
        return self.access.dsn(database, user, port=self.port)

    def superuser_dsn(self, database: str = "postgres") -> str:
        """DSN as the superuser, for making databases, for tests and for repair. Raises as `dsn` does."""
        return self.access.superuser_dsn(database, socket=self.socket, port=self.port)

    @property
    def _server_log(self) -> Path:
        # The server's own user writes it; `log_file` is where people look for it.
        return self.folder / "server.log"

    @property
    def _ports_file(self) -> Path:
        return self.folder.parent / f"{self.folder.name}-ports.json"

    def _start_server(self) -> None:
        """Start the server; while what a killed one has left is still going away, try again."""
        options = ("--wait", f"--timeout={_START_TIMEOUT_S}", f"--log={self._server_log}")
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            log_size = self._server_log.stat().st_size if self._server_log.exists() else 0
            try:
                self._pg_ctl("start", *options, timeout_s=_START_TIMEOUT_S)
            except StartFailed:
                with self._server_log.open("rb") as log:
                    log.seek(log_size)
                    said = log.read()
                if time.monotonic() > deadline or not any(words in said for words in _PREDECESSOR):
                    raise
                time.sleep(_POLL_S)
            else:
                return

    def _postmaster(self) -> int:
        """Process id in the pid file, 0 when there is none."""
        try:
            return int((self.data / "postmaster.pid").read_text(encoding="ascii").split(maxsplit=1)[0])
        except (FileNotFoundError, IndexError, ValueError):
            return 0

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
        write_private(password_file, self.access.password(SUPERUSER)[0])
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
            file.write(f"\ninclude = '{_SETTINGS_FILE}'\n")
        unfinished.rename(self.data)

    def _write_files(self) -> set[str]:
        """Write what the server reads, where it is not so already; tell the names of what has changed."""
        settings = _SETTINGS.format(host=LOOPBACK, port=self.port, socket=self.socket)
        wanted = {_SETTINGS_FILE: settings.encode(), **self.access.server_files(now=datetime.now(UTC))}
        changed = set()
        for name, content in wanted.items():
            file = self.data / name
            if not file.exists() or file.read_bytes() != content:
                write_private(file, content)
                changed.add(name)
            if self._account.is_other:
                os.chown(file, self._account.uid, self._account.gid)
        return changed

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
