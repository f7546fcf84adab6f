"""Roles, ownership and guards are the same whoever applies the migrations, and nothing is left to PUBLIC."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo

from clm.dev.postgres import PostgresCluster
from clm.dev.postgres_access import MIGRATOR, SUPERUSER, USERS, Access
from clm.dev.postgres_binaries import find_postgres
from clm.dev.state import write_private
from clm.errors import DatabaseUnavailable, MigrationFailed
from clm.storage.migration_files import migrations_dir, read_migrations, roles_file
from clm.storage.migrations import migrate
from tests.sql.tenants import ONE, OTHER, fill, of_organizations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import Server

    Connection = psycopg.Connection[tuple[Any, ...]]

LOGS: dict[DatabaseName, str] = {"secure": "secure_audit_log", "core": "audit_log"}
FORMER = {"secure": 2, "core": 1}
"""How many migrations came before the roles."""

ROLES = """
SELECT r.rolname::text, r.rolcanlogin, r.rolinherit, r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
       OR r.rolbypassrls, r.rolconfig, shobj_description(r.oid, 'pg_authid'),
       (SELECT array_agg(m.roleid::regrole::text) FROM pg_auth_members m WHERE m.member = r.oid)
FROM pg_roles r WHERE r.rolname LIKE 'clm\\_%' ORDER BY 1
"""
OWNERS = """
SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace::regnamespace::text ~ '^(public|clm_)'
UNION SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname ~ '^(public|clm_)'
UNION SELECT proowner::regrole::text FROM pg_proc p WHERE pronamespace::regnamespace::text ~ '^(public|clm_)'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
# Extensions are let be: their functions belong to the superuser where a mere owner installed them, and nobody without
# USAGE on public reaches them.
LEFT_TO_PUBLIC = """
SELECT 'database', datname::text FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS a
WHERE datname = current_database() AND a.grantee = 0
UNION ALL
SELECT 'schema', nspname::text FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS a
WHERE nspname ~ '^(public|clm_)' AND a.grantee = 0
UNION ALL
SELECT 'table', oid::regclass::text FROM pg_class, aclexplode(relacl) AS a
WHERE relnamespace::regnamespace::text ~ '^(public|clm_)' AND a.grantee = 0
UNION ALL
SELECT 'column', attrelid::regclass::text || '.' || attname FROM pg_attribute t JOIN pg_class c ON c.oid = attrelid,
    aclexplode(attacl) AS a
WHERE relnamespace::regnamespace::text ~ '^(public|clm_)' AND a.grantee = 0
UNION ALL
SELECT 'function', p.oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
WHERE pronamespace::regnamespace::text ~ '^(public|clm_)' AND a.grantee = 0
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'default', defaclobjtype::text FROM pg_default_acl, aclexplode(defaclacl) AS a WHERE a.grantee = 0
"""


@dataclass(frozen=True, slots=True)
class Bare:
    """A server of its own, in which there is no role of CLM."""

    cluster: PostgresCluster

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with psycopg.connect(self.cluster.superuser_dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def dsn(self, database: str, user: str) -> str:
        """DSN of a user by the socket."""
        passfile = self.cluster.access.passfile(user)
        return make_conninfo(self.cluster.superuser_dsn(database), user=user, passfile=str(passfile))

    def migrator_dsn(self, database: str) -> str:
        """DSN of the migrator, who has a password from now on."""
        write_private(self.cluster.access.passfile(MIGRATOR), f"*:*:*:{MIGRATOR}:test\n")
        self.execute(f"ALTER ROLE {MIGRATOR} PASSWORD 'test'")
        return self.dsn(database, MIGRATOR)

    def make_user(self, name: str, attributes: str) -> None:
        """Make a user that comes by the socket."""
        write_private(self.cluster.access.passfile(name), f"*:*:*:{name}:test\n")
        self.execute(f"CREATE ROLE {name} LOGIN {attributes} PASSWORD 'test'")


@pytest.fixture
def bare() -> Iterator[Bare]:
    """A fresh server, on which everybody may come by the socket."""
    folder = Path(tempfile.mkdtemp(prefix="clm-bare-"))
    folder.chmod(0o755)
    binaries = find_postgres(os.environ, embedded_copy=folder / "embedded")
    cluster = PostgresCluster(folder / "bare", binaries, folder / "bare.log", Access(folder / "bare", USERS["core"]))
    try:
        cluster.start()
        with (cluster.data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write("local all all scram-sha-256\n")
        cluster._pg_ctl("reload", timeout_s=20)
        yield Bare(cluster)
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def test_one_schema_whoever_applies_it(
    bare: Bare, database: DatabaseName, psql: Callable[[str, Path], None], schema_dump: Callable[[str], str]
) -> None:
    """By psql as an owner who may make roles or as superuser, by the runner as migrator: one schema to the letter."""
    files = [file.path for file in read_migrations(migrations_dir(database))]
    bare.make_user("someone", "CREATEROLE")
    bare.execute("CREATE DATABASE by_owner OWNER someone")
    bare.execute("CREATE DATABASE by_superuser")
    bare.execute("CREATE DATABASE by_migrator")
    for file in files:
        psql(bare.dsn("by_owner", "someone"), file)
    made = bare.execute(ROLES)
    for file in files:
        psql(bare.cluster.superuser_dsn("by_superuser"), file)
    psql(bare.cluster.superuser_dsn("by_migrator"), roles_file())
    assert [row.version for row in migrate(bare.migrator_dsn("by_migrator"), database)] == [
        version for version, _ in enumerate(files, start=1)
    ]
    dumps = {
        name: schema_dump(bare.cluster.superuser_dsn(name)) for name in ("by_owner", "by_superuser", "by_migrator")
    }
    assert "CREATE POLICY" in dumps["by_owner"]
    assert dumps["by_superuser"] == dumps["by_owner"]
    assert dumps["by_migrator"] == dumps["by_owner"]
    # What the migration made of the roles is what the administrator's file makes of them.
    after = bare.execute(ROLES)
    assert [role for role in after if role[0] in {name for name, *_ in made}] == made
    assert {role[0] for role in after} == {"clm_owner"}.union(*USERS.values())


def test_the_runner_as_a_plain_owner(bare: Bare, database: DatabaseName) -> None:
    """An owner who may make roles needs no administrator; and what it applies later is the owner's all the same."""
    bare.make_user("someone", "CREATEROLE")
    bare.execute("CREATE DATABASE plain OWNER someone")
    migrate(bare.dsn("plain", "someone"), database)
    assert bare.execute(OWNERS, "plain") == [("clm_owner",)]
    assert migrate(bare.dsn("plain", "someone"), database) == []


def test_without_the_right_to_make_roles(bare: Bare, database: DatabaseName, psql: Callable[[str, Path], None]) -> None:
    """The message says what to type, nothing of the file stays; that typed, the migrator goes on where it was."""
    bare.make_user("someone", "")
    bare.execute("CREATE DATABASE plain OWNER someone")
    with pytest.raises(MigrationFailed, match=r"role clm_owner is missing.* psql -d plain -f migrations/roles\.sql"):
        migrate(bare.dsn("plain", "someone"), database)
    applied = "SELECT max(version) FROM clm_meta.schema_migrations"
    assert bare.execute(applied, "plain") == [(FORMER[database],)]
    psql(bare.cluster.superuser_dsn("plain"), roles_file())
    with pytest.raises(DatabaseUnavailable, match="permission denied for database"):
        migrate(bare.dsn("plain", "someone"), database)
    migrate(bare.migrator_dsn("plain"), database)
    assert bare.execute(OWNERS, "plain") == [("clm_owner",)]


def test_what_a_superuser_began(bare: Bare, database: DatabaseName, psql: Callable[[str, Path], None]) -> None:
    """Where psql has made the first tables the migrator has no right to them, and is told what helps."""
    superuser = bare.cluster.superuser_dsn("begun")
    bare.execute("CREATE DATABASE begun")
    psql(superuser, roles_file())
    psql(superuser, read_migrations(migrations_dir(database))[0].path)
    with pytest.raises(MigrationFailed, match=r"after an administrator has run migrations/roles\.sql"):
        migrate(bare.migrator_dsn("begun"), database)
    psql(superuser, roles_file())
    migrate(bare.migrator_dsn("begun"), database)
    assert bare.execute(OWNERS, "begun") == [("clm_owner",)]


def test_an_administrator_who_is_no_superuser(
    bare: Bare, database: DatabaseName, psql: Callable[[str, Path], None]
) -> None:
    """Where a managed service gives no superuser, the owner of the database with CREATEROLE will do."""
    bare.make_user("administrator", "CREATEROLE")
    bare.execute("CREATE DATABASE managed OWNER administrator")
    for _ in range(2):
        psql(bare.dsn("managed", "administrator"), roles_file())
    migrate(bare.migrator_dsn("managed"), database)
    psql(bare.dsn("managed", "administrator"), roles_file())
    assert bare.execute(OWNERS, "managed") == [("clm_owner",)]
    assert bare.execute(LEFT_TO_PUBLIC, "managed") == []


@pytest.mark.parametrize("attribute", ["SUPERUSER", "BYPASSRLS"])
def test_a_user_above_all_rights_is_refused(
    bare: Bare, database: DatabaseName, psql: Callable[[str, Path], None], attribute: str
) -> None:
    """Somebody has made the auditor a superuser: neither the migration nor the administrator's file goes on."""
    bare.execute("CREATE DATABASE above")
    bare.execute(f"CREATE ROLE clm_auditor LOGIN {attribute}")
    superuser = bare.cluster.superuser_dsn("above")
    with pytest.raises(MigrationFailed, match=r"above all rights: clm_auditor; .* NOSUPERUSER NOBYPASSRLS"):
        migrate(superuser, database)
    psql(superuser, roles_file())
    assert bare.execute("SELECT FROM pg_roles WHERE rolname = 'clm_owner'") == []
    bare.execute("ALTER ROLE clm_auditor NOSUPERUSER NOBYPASSRLS")
    migrate(superuser, database)


def test_two_databases_of_one_server_at_once(bare: Bare) -> None:
    """Roles belong to the server: both migrations want to make them, and neither fails for it."""
    for name in ("secure", "core"):
        bare.execute(f"CREATE DATABASE at_once_{name}")
    together = threading.Barrier(2)

    def run(name: DatabaseName) -> int:
        together.wait()
        return len(migrate(bare.cluster.superuser_dsn(f"at_once_{name}"), name))

    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(run, ("secure", "core")))
    assert applied == [len(read_migrations(migrations_dir(name))) for name in ("secure", "core")]


def test_six_runners_as_the_migrator(postgres_server: Server, database: DatabaseName) -> None:
    """Every file of this release is applied by exactly one of six."""
    together = threading.Barrier(6)
    with postgres_server.database() as name:

        def run(_: int) -> list[int]:
            together.wait()
            return [row.version for row in migrate(postgres_server.cluster.dsn(name, MIGRATOR), database)]

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(run, range(6)))
    versions = [file.version for file in read_migrations(migrations_dir(database))]
    assert sorted(version for result in results for version in result) == versions


def test_data_survive_the_upgrade(
    postgres_server: Server, database: DatabaseName, tmp_path: Path, schema_dump: Callable[[str], str]
) -> None:
    """A database of the release before, with rows and partitions, keeps its rows and gets the schema of a fresh one."""
    for file in read_migrations(migrations_dir(database))[: FORMER[database]]:
        shutil.copy(file.path, tmp_path)
    with postgres_server.database(owner=SUPERUSER) as name, postgres_server.database() as fresh:
        dsn = postgres_server.cluster.superuser_dsn(name)
        migrate(dsn, database, folder=tmp_path)
        with psycopg.connect(dsn, autocommit=True) as connection:
            partition = f"CREATE TABLE clm_audit_parts.{LOGS[database]}_old PARTITION OF {LOGS[database]}"
            connection.execute(f"{partition} FOR VALUES FROM ('2020-01-01') TO ('2100-01-01')".encode())
            for organization in (ONE, OTHER):
                fill(connection, database, organization)
            tables = of_organizations(connection)
            columns = {table: _columns(connection, table) for table in tables}
            before = _content(connection, columns)
            migrate(dsn, database)
            assert _content(connection, columns) == before
            with pytest.raises(pg.InsufficientPrivilege, match="records are only added"):
                connection.execute(f"TRUNCATE clm_audit_parts.{LOGS[database]}_old".encode())
            with pytest.raises(pg.InsufficientPrivilege, match="records are only added"):
                connection.execute(f"DELETE FROM clm_audit_parts.{LOGS[database]}_old".encode())
            connection.execute(f"DROP TABLE clm_audit_parts.{LOGS[database]}_old".encode())
        migrate(postgres_server.cluster.dsn(fresh, MIGRATOR), database)
        assert schema_dump(dsn) == schema_dump(postgres_server.cluster.superuser_dsn(fresh))


def test_one_owner(connection: Connection) -> None:
    """Schemas, tables, partitions, views and functions belong to the role that nobody logs in as."""
    assert connection.execute(OWNERS).fetchall() == [("clm_owner",)]
    assert connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clm_owner'").fetchone() == (False,)


def test_nothing_for_public(connection: Connection) -> None:
    """No database, schema, table, column or function is everybody's, and nothing that is made later will be."""
    assert connection.execute(LEFT_TO_PUBLIC).fetchall() == []
    connection.execute("SET LOCAL ROLE clm_owner")
    connection.execute("CREATE FUNCTION clm_guard.later() RETURNS int LANGUAGE sql RETURN 1")
    assert connection.execute(LEFT_TO_PUBLIC).fetchall() == []


def test_functions_with_rights_of_the_owner(connection: Connection) -> None:
    """Every SECURITY DEFINER function says itself where names are sought, and pg_temp comes last."""
    loose = connection.execute("""
        SELECT oid::regprocedure::text FROM pg_proc p
        WHERE prosecdef AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false)
    """).fetchall()
    assert loose == []
    found = connection.execute("SELECT count(*) FROM pg_proc WHERE prosecdef").fetchone()
    assert found is not None
    assert found[0] > 0


def test_only_the_owner_reaches_partitions(connection: Connection) -> None:
    """By them one would get past the policies of their parent."""
    reach = """
        SELECT rolname::text FROM pg_roles
        WHERE has_schema_privilege(oid, 'clm_audit_parts', 'USAGE') AND NOT rolsuper AND rolname LIKE 'clm%'
    """
    assert connection.execute(reach).fetchall() == [("clm_owner",)]


@pytest.mark.parametrize("act", ["UPDATE {} SET actor_id = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("replica", [False, True])
def test_records_stay_as_they_are(connection: Connection, database: DatabaseName, act: str, *, replica: bool) -> None:
    """Not even the superuser changes one by a slip, by the log or by its partition, as a replica or not."""
    fill(connection, database, ONE)
    query = f"SELECT DISTINCT tableoid::regclass::text FROM {LOGS[database]}"
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    if replica:
        connection.execute("SET LOCAL session_replication_role = replica")
    for table in (LOGS[database], row[0]):
        with pytest.raises(pg.InsufficientPrivilege, match="records are only added"), connection.transaction():
            connection.execute(act.format(table).encode())


def test_every_partition_is_guarded(connection: Connection, database: DatabaseName) -> None:
    """TRUNCATE of each one is refused: a statement trigger is not inherited from the parent."""
    query = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'clm_audit_parts'"
    partitions = [row[0] for row in connection.execute(query).fetchall()]
    assert len(partitions) == 13
    for partition in partitions:
        with pytest.raises(pg.InsufficientPrivilege, match=partition), connection.transaction():
            connection.execute(f"TRUNCATE clm_audit_parts.{partition}".encode())
    assert LOGS[database] in partitions[0]


def _columns(connection: Connection, table: str) -> str:
    """Name the columns that a table has now: a migration may add others, without rewriting a row."""
    cursor = connection.execute(f"SELECT * FROM {table} LIMIT 0".encode())
    return ", ".join(f"t.{column.name}" for column in cursor.description or ())


def _content(connection: Connection, columns: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: connection.execute(
            f"SELECT {named}, t.xmin FROM {table} t ORDER BY ROW({named})::text".encode()
        ).fetchall()
        for table, named in columns.items()
    }
