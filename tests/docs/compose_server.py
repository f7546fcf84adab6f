"""PostgreSQL from the system or the wheel, started with files of compose.yaml instead of a container."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.dev.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from clm.dev.postgres_binaries import PostgresBinaries

_TIMEOUT_S = 60


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def account() -> str | None:
    """The user that the server runs as, where that is another: it refuses to run as root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names) if os.geteuid() == 0 else None


@dataclass(frozen=True, slots=True)
class ComposeServer:
    """One server below `folder`, with a superuser `postgres`. `options` are settings that come before the file's."""

    folder: Path
    binaries: PostgresBinaries
    port: int
    options: Mapping[str, str]

    @property
    def socket(self) -> str:
        """Connection string of its unix socket."""
        return f"host={self.folder} port={self.port}"

    def start(self) -> None:
        """Make the cluster and start it; it listens when this returns."""
        self.give(self.folder)
        data = self.folder / "data"
        initialize = ["initdb", "-D", str(data), "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8"]
        self.run(*initialize, "--auth=trust")
        settings = {
            **self.options,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "dynamic_shared_memory_type": "mmap",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self.run("pg_ctl", "start", "-D", str(data), "-w", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stop it, if it runs."""
        self.run("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", "immediate", "-w", check=False)

    def give(self, *paths: Path) -> None:
        """Make files the server's own."""
        if (name := account()) is not None:
            for path in paths:
                shutil.chown(path, name, pwd.getpwnam(name).pw_gid)

    def psql(self, database: str, *arguments: str) -> None:
        """Run psql as the superuser, by the unix socket."""
        dsn = f"{self.socket} dbname={database} user=postgres"
        self.run("psql", "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "--dbname", dsn, *arguments)

    def run(self, program: str, *arguments: str, check: bool = True) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        name = account()
        log = self.folder / "programs.log"
        # pg_ctl hands its output to the server: a pipe would never end.
        with log.open("a", encoding="utf-8") as output:
            done = subprocess.run(
                [self.binaries.program(program), *arguments],
                user=name,
                group=pwd.getpwnam(name).pw_gid if name is not None else None,
                extra_groups=None if name is None else [],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S,
                check=False,
            )
        assert not check or done.returncode == 0, log.read_text(encoding="utf-8")
