"""The quickstart's commands are typed as they stand, in their order, and print what the page says.

They run in a folder that looks like the checkout. The servers of compose.yaml are started from its own files, without
containers; where a machine has those, `docker compose up` does the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import yaml

from clm.dev.postgres_binaries import find_postgres
from clm.storage.migration_files import migrations_dir, read_migrations
from clm.storage.migrations import migrate
from tests.docs.compose_server import ComposeServer, free_port
from tests.docs.pages import ROOT, Fence, fences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clm.dev.postgres_binaries import PostgresBinaries
    from clm.storage.migration_files import DatabaseName

QUICKSTART = ROOT / "docs" / "database-quickstart.md"
NAMES: tuple[DatabaseName, ...] = ("secure", "core")
DOCUMENTED_PORTS = {"secure": 5433, "core": 5434}
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Block:
    """Commands, and the lines that their output has, in this order; none where they must only succeed."""

    commands: str
    expected: list[str]


def blocks() -> list[Block | None]:
    """What is to be typed; None where the page starts the servers."""
    found: list[Block | None] = []
    every = fences(QUICKSTART)
    for fence, following in zip(every, [*every[1:], Fence("", "", "")], strict=True):
        if fence.language != "sh":
            continue
        if "docker compose up" in fence.text:
            found.append(None)
        elif fence.mark == "run":
            found.append(Block(fence.text, following.text.splitlines() if following.language == "text" else []))
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that root's server can reach as well."""
    path = Path(tempfile.mkdtemp(prefix="clm-docs-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def binaries(folder: Path) -> PostgresBinaries:
    """PostgreSQL of this machine."""
    return find_postgres(os.environ, embedded_copy=folder / "embedded")


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """What the commands see as the checkout: all of it by links, but a folder deploy/ of their own."""
    path = folder / "checkout"
    path.mkdir()
    for name in ("migrations", "operator", "compose.yaml"):
        (path / name).symlink_to(ROOT / name)
    (path / ".venv").symlink_to(sys.prefix)
    shutil.copytree(ROOT / "deploy", path / "deploy", ignore=shutil.ignore_patterns("state"))
    return path


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Free ports instead of those of the page."""
    return {name: free_port() for name in NAMES}


@pytest.fixture(scope="module")
def administered(folder: Path, binaries: PostgresBinaries) -> Iterator[ComposeServer]:
    """A server of one's own, with an administrator as managed services give one: no superuser."""
    place = folder / "own"
    place.mkdir()
    server = ComposeServer(place, binaries, free_port(), {"listen_addresses": ""})
    try:
        server.start()
        server.psql("postgres", "-c", "CREATE ROLE admin LOGIN CREATEROLE CREATEDB")
        yield server
    finally:
        server.stop()


def service(name: DatabaseName, checkout: Path, binaries: PostgresBinaries, port: int) -> ComposeServer:
    """A service of compose.yaml: its settings and rules, its certificate, its users and passwords."""
    parts = yaml.safe_load((checkout / "compose.yaml").read_text(encoding="utf-8"))["services"][f"{name}-db"]
    place = checkout.parent / name
    place.mkdir()
    mounted = {
        target: checkout / source
        for source, target in (volume.split(":")[:2] for volume in parts["volumes"] if volume.startswith("./"))
    }
    # The entry point of the containers copies these, for the server takes a key only from a file of its own.
    for file in ("server.crt", "server.key"):
        shutil.copy(mounted["/clm/tls"] / file, place)
        (place / file).chmod(0o600)
    for target in ("/clm/postgresql.conf", "/clm/pg_hba.conf"):
        shutil.copy(mounted[target], place)
    # Who comes by the socket is not known here as it is in the container, where only its own users are.
    rules = (place / "pg_hba.conf").read_text(encoding="utf-8")
    (place / "pg_hba.conf").write_text(rules.replace("peer", "trust"), encoding="utf-8")
    options = {
        "config_file": str(place / "postgresql.conf"),
        "hba_file": str(place / "pg_hba.conf"),
        "ssl_cert_file": str(place / "server.crt"),
        "ssl_key_file": str(place / "server.key"),
        "listen_addresses": "127.0.0.1",
    }
    server = ComposeServer(place, binaries, port, options)
    server.give(*place.iterdir())
    try:
        server.start()
        database = parts["environment"]["POSTGRES_DB"]
        server.psql("postgres", "-c", f"CREATE DATABASE {database}")
        for target, source in sorted(mounted.items()):
            if target.startswith("/docker-entrypoint-initdb.d/"):
                readable = place / Path(target).name
                shutil.copy(source, readable)
                server.give(readable)
                server.psql(database, "-f", str(readable))
    except BaseException:
        server.stop()
        raise
    return server


def type_in(commands: Sequence[Block], *, checkout: Path, environment: dict[str, str]) -> list[str]:
    """Run blocks in one shell; give what each printed. One that has nothing to print has to succeed."""
    script = ["exec 2>&1", "set -u"]
    for number, block in enumerate(commands):
        script += [f"echo '=== {number}'", "set +e" if block.expected else "set -e", block.commands]
    shell = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    printed = shell.stdout.split("=== ")[1:]
    assert len(printed) == len(commands), shell.stdout
    assert commands[-1].expected or shell.returncode == 0, shell.stdout
    return [part.partition("\n")[2] for part in printed]


def check(block: Block, printed: str) -> None:
    """Every expected line is there, one after the other; a number or a letter is all of its line."""
    rest = iter(printed.splitlines())
    for expected in block.expected:
        whole = len(expected) == 1
        found = any(line == expected if whole else expected in line for line in rest)
        assert found, f"{block.commands}\nprinted:\n{printed}\nand not: {expected}"


@pytest.fixture(scope="module")
def typed(
    folder: Path, checkout: Path, binaries: PostgresBinaries, ports: dict[str, int], administered: ComposeServer
) -> list[tuple[Block, str]]:
    """Every command of the page in its order, with what it printed."""
    every = blocks()
    start = every.index(None)
    typed = [
        Block(block.commands.replace("5433", str(ports["secure"])).replace("5434", str(ports["core"])), block.expected)
        for block in every
        if block is not None
    ]
    environment = {
        "PATH": f"{binaries.folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PGCONNECT_TIMEOUT": "10",
        "ADMIN_SECURE": f"{administered.socket} user=admin",
        "ADMIN_CORE": f"{administered.socket} user=admin",
        **{f"CLM_{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }
    printed = type_in(typed[:start], checkout=checkout, environment=environment)
    servers: list[ComposeServer] = []
    try:
        for name in NAMES:
            servers.append(service(name, checkout, binaries, ports[name]))  # noqa: PERF401 - each is stopped, if one fails
        printed += type_in(typed[start:], checkout=checkout, environment=environment)
    finally:
        for server in servers:
            server.stop()
    return list(zip(typed, printed, strict=True))


def test_the_commands_do_what_the_page_says(typed: list[tuple[Block, str]]) -> None:
    """From no file at all to two databases whose rights hold, with the administrator's way in between."""
    for block, printed in typed:
        check(block, printed)


@pytest.mark.usefixtures("typed")
def test_an_administrator_without_superuser_is_enough(folder: Path, administered: ComposeServer) -> None:
    """What steps 1 and 2 have made on a server of one's own is all that `clm migrate` needs, and psql as well."""
    for name in NAMES:
        dsn = f"{administered.socket} dbname=clm_{name}_db user=clm_migrator"
        if name == "core":
            for migration in read_migrations(migrations_dir(name)):
                readable = Path(shutil.copy(migration.path, folder / "own"))
                administered.give(readable)
                administered.run(
                    "psql", "--quiet", "-v", "ON_ERROR_STOP=1", dsn, "-c", "SET ROLE clm_owner", "-f", str(readable)
                )
        assert {applied.adopted for applied in migrate(dsn, name)} == {name == "core"}
        with psycopg.connect(dsn) as connection:
            owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            assert owners.fetchall() == [("clm_owner",)]


def test_every_command_is_run_or_says_why_not() -> None:
    """No block of commands is left without a mark, and not running needs a reason."""
    for fence in fences(QUICKSTART):
        if fence.language == "sh":
            assert fence.mark == "run" or fence.mark.startswith("not run: "), fence.text


def test_documented_ports_are_those_of_compose() -> None:
    """The page, the script and compose.yaml name the same ports."""
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    prepare = (ROOT / "deploy" / "compose" / "prepare").read_text(encoding="utf-8")
    for name, port in DOCUMENTED_PORTS.items():
        default = f"${{CLM_{name.upper()}_PORT:-{port}}}"
        assert default in compose
        assert default in prepare
        assert str(port) in QUICKSTART.read_text(encoding="utf-8")
