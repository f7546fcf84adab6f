"""The catalog as pgTAP asks for it, the functions as plpgsql_check sees them, the files as squawk reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from clm.storage.migration_files import migrations_dir, roles_file

if TYPE_CHECKING:
    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair

FOLDER = Path(__file__).parent
TIMEOUT_S = 120


@pytest.mark.parametrize(
    ("database", "suite"),
    [
        ("secure", "clm_secure_db.sql"), ("core", "clm_core_db.sql"),
        ("secure", "functions.sql"), ("core", "functions.sql"),
    ],
)  # fmt: skip
def test_suite(databases: DatabasePair, database: DatabaseName, suite: str) -> None:
    """pg_prove runs every assertion of the suite, and each holds."""
    program = shutil.which("pg_prove")
    dsn = databases.superuser_dsn(database)
    with psycopg.connect(dsn) as connection:
        major = connection.info.server_version // 10000
        known = connection.execute(
            "SELECT count(*) FROM pg_available_extensions WHERE name IN ('pgtap', 'plpgsql_check')"
        ).fetchone()
    assert program is not None, "install libtap-parser-sourcehandler-pgtap-perl (hack/setup does)"
    assert known == (2,), f"install postgresql-{major}-pgtap and postgresql-{major}-plpgsql-check (hack/setup does)"
    psql = databases.cluster.binaries.program("psql")
    # pg_prove hands its options on as words; a connection string is more than one.
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "passfile": "PGPASSFILE"}
    parameters = conninfo_to_dict(dsn)
    environment = {**os.environ, **{variable: str(parameters[name]) for name, variable in names.items()}}
    command = [program, "--psql-bin", psql, "--failures", "--comments", str(FOLDER / suite)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Result: PASS" in done.stdout


def test_squawk() -> None:
    """No migration does what locks or breaks a database in use. What is excluded, and why, is in .squawk.toml."""
    root = Path(__file__).parents[2]
    files = [roles_file(), *migrations_dir("secure").glob("*.sql"), *migrations_dir("core").glob("*.sql")]
    command = [str(Path(sys.executable).parent / "squawk"), "--config", str(root / ".squawk.toml")]
    done = subprocess.run(
        [*command, *map(str, sorted(files))], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout
    assert len(files) >= 7
