"""Everything that was not granted is refused: tried, as each user, on every table and column, and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from tests.sql.rights import CALLS, RIGHTS, Right

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair

    Connection = psycopg.Connection[tuple[Any, ...]]

LEAST_REFUSALS = 150
NOTHING = Right()

TABLES = """
SELECT n.nspname::text, c.relname::text, c.relkind::text, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE (n.nspname = 'public' OR n.nspname LIKE 'clm\\_%') AND c.relkind IN ('r', 'p', 'v')
GROUP BY 1, 2, 3
ORDER BY 1, 2
"""
FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.proname::text, p.pronargs
FROM pg_proc p
WHERE p.pronamespace::regnamespace::text LIKE 'clm\\_%' AND p.prorettype <> 'trigger'::regtype
"""

# What nobody may who is not the owner, whatever the tables grant.
ACTS = (
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMP TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION clm_guard.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
    "CREATE OR REPLACE VIEW public.mine AS SELECT 1",
    "CREATE ROLE mine",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "GRANT clm_owner TO CURRENT_USER",
    "SET ROLE clm_owner",
    "SET ROLE clm_migrator",
    "SET SESSION AUTHORIZATION postgres",
    "SET session_replication_role = replica",
    "COPY (SELECT 1) TO PROGRAM 'cat'",
    "COPY pg_class TO '/tmp/mine'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_reload_conf()",
    "DELETE FROM clm_meta.schema_migrations",
    "INSERT INTO clm_meta.schema_migrations (version, name) VALUES (999, 'mine')",
    "DROP SCHEMA clm_guard CASCADE",
    "SELECT count(*) FROM clm_audit_parts.{partition}",
    "DROP TABLE clm_audit_parts.{partition}",
    "ALTER TABLE public.{log} DETACH PARTITION clm_audit_parts.{partition}",
    "ALTER TABLE public.{log} DISABLE TRIGGER ALL",
    "ALTER TABLE public.{log} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE public.{log} NO FORCE ROW LEVEL SECURITY",
    "CREATE POLICY mine ON public.{log} USING (true)",
    "DROP POLICY tenant_isolation ON public.{log}",
    "DROP TRIGGER {log}_only_added ON public.{log}",
    "CREATE RULE mine AS ON INSERT TO public.{log} DO INSTEAD NOTHING",
    "LOCK TABLE public.{log} IN ACCESS EXCLUSIVE MODE",
    "COMMENT ON TABLE public.{log} IS 'mine'",
)


@dataclass(slots=True)
class Attempts:
    """Tries statements as one user; what is refused for want of a right is counted, what succeeds is undone."""

    connection: Connection
    refused: int = 0
    allowed: int = 0
    wrong: list[str] = field(default_factory=list)

    def expect(self, statement: sql.Composed | str, *, allowed: bool) -> None:
        """Try a statement, and note it if its end is not the expected one."""
        text = statement if isinstance(statement, str) else statement.as_string(self.connection)
        try:
            with self.connection.transaction(force_rollback=True):
                self.connection.execute(text.encode())
        except pg.InsufficientPrivilege:
            self.refused += 1
            if allowed:
                self.wrong.append(f"refused: {text}")
        else:
            self.allowed += 1
            if not allowed:
                self.wrong.append(f"allowed: {text}")


@pytest.fixture(params=list(RIGHTS), ids=lambda key: key[1] + "@" + key[0])
def who(request: pytest.FixtureRequest) -> tuple[DatabaseName, str]:
    """A database and one of its users."""
    key: tuple[DatabaseName, str] = request.param
    return key


@pytest.fixture
def attempts(shared_databases: DatabasePair, who: tuple[DatabaseName, str]) -> Iterator[Attempts]:
    """Attempts as that user."""
    with psycopg.connect(shared_databases.dsn(*who), autocommit=True) as connection:
        # The user may; what is to be seen here is that it helps nothing.
        connection.execute("SET default_transaction_read_only = off")
        yield Attempts(connection)


def test_every_table_and_column(
    shared_databases: DatabasePair, who: tuple[DatabaseName, str], attempts: Attempts
) -> None:
    """Each user reads, adds, changes and removes exactly what is written down, column by column."""
    with psycopg.connect(shared_databases.superuser_dsn(who[0])) as administrator:
        tables = administrator.execute(TABLES).fetchall()
    expected = dict(RIGHTS[who])
    for schema, name, kind, columns in tables:
        right = expected.pop(name if schema == "public" else f"{schema}.{name}", NOTHING)
        _try_table(attempts, sql.Identifier(schema, name), columns, right, view=kind == "v")
    assert not expected, "rights on what is not there"
    assert attempts.wrong == []
    assert attempts.allowed > 0
    assert attempts.refused >= LEAST_REFUSALS


def test_acts_of_an_owner(who: tuple[DatabaseName, str], attempts: Attempts, shared_databases: DatabasePair) -> None:
    """Nobody makes, alters, drops or grants anything, becomes somebody else, or gets out of the database."""
    log = "secure_audit_log" if who[0] == "secure" else "audit_log"
    query = "SELECT min(tablename)::text FROM pg_tables WHERE schemaname = 'clm_audit_parts'"
    with psycopg.connect(shared_databases.superuser_dsn(who[0])) as administrator:
        row = administrator.execute(query).fetchone()
    assert row is not None
    for act in ACTS:
        attempts.expect(act.format(log=log, partition=row[0]), allowed=False)
    assert attempts.wrong == []
    assert attempts.refused == len(ACTS)


def test_every_function(who: tuple[DatabaseName, str], attempts: Attempts, shared_databases: DatabasePair) -> None:
    """Nobody calls a function that acts with the owner's rights but those whose task it is."""
    with psycopg.connect(shared_databases.superuser_dsn(who[0])) as administrator:
        functions = administrator.execute(FUNCTIONS).fetchall()
        granted = {
            name
            for signature, name, _ in functions
            if administrator.execute("SELECT has_function_privilege(%s, %s, 'EXECUTE')", [who[1], signature]).fetchone()
            == (True,)
        }
    assert granted == CALLS[who]
    for signature, name, arguments in functions:
        if name not in granted:
            call = f"SELECT {signature.partition('(')[0]}({', '.join(['NULL'] * arguments)})"
            attempts.expect(call, allowed=False)
    assert attempts.wrong == []
    assert attempts.refused == len(functions) - len(granted)


@pytest.mark.parametrize(
    ("database", "user"),
    [
        ("secure", "clm_operator_core"), ("secure", "clm_responder"), ("secure", "clm_webhook"), ("secure", "clm_api"),
        ("core", "clm_operator_secure"),
    ],
)  # fmt: skip
def test_the_other_database(shared_databases: DatabasePair, database: DatabaseName, user: str) -> None:
    """A user of one database does not even connect to the other, on one server as on two."""
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(shared_databases.dsn(database, user))


def test_the_auditor_writes_nothing(shared_databases: DatabasePair, database: DatabaseName) -> None:
    """Each of its transactions begins as one that only reads; so do those of the responder and the webhook."""
    users = ["clm_auditor", *(["clm_responder", "clm_webhook"] if database == "core" else [])]
    for user in users:
        with psycopg.connect(shared_databases.dsn(database, user)) as connection:
            assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


def test_sessions_are_limited(shared_databases: DatabasePair, who: tuple[DatabaseName, str]) -> None:
    """Names are sought where nobody can plant one, and no session holds others up for ever."""
    with psycopg.connect(shared_databases.dsn(*who)) as connection:
        row = connection.execute("""
            SELECT current_setting('search_path'), current_setting('statement_timeout') <> '0',
                   current_setting('lock_timeout') <> '0',
                   current_setting('idle_in_transaction_session_timeout') <> '0'
        """).fetchone()
    assert row == ("pg_catalog, public, pg_temp", True, True, True)


def _try_table(attempts: Attempts, table: sql.Identifier, columns: list[str], right: Right, *, view: bool) -> None:
    reads, adds, changes = right.reads(columns), right.adds(columns), right.changes(columns)
    whole = len(columns)

    def expect(statement: str, *, allowed: bool, column: str = "") -> None:
        attempts.expect(sql.SQL(statement).format(t=table, c=sql.Identifier(column)), allowed=allowed)

    expect("SELECT * FROM {t} LIMIT 0", allowed=len(reads) == whole)
    expect("SELECT count(*) FROM (SELECT FROM {t} LIMIT 0) AS nothing", allowed=bool(reads))
    for column in columns:
        expect("SELECT {c} FROM {t} LIMIT 0", column=column, allowed=column in reads)
    expect("TABLE {t} LIMIT 0", allowed=len(reads) == whole)
    if view:
        return
    for column in columns:
        expect("INSERT INTO {t} ({c}) SELECT NULL WHERE false", column=column, allowed=column in adds)
        expect("UPDATE {t} SET {c} = NULL WHERE false", column=column, allowed=column in changes)
    expect("DELETE FROM {t} WHERE false", allowed=right.removes)
    expect("TRUNCATE {t}", allowed=False)
    expect("ALTER TABLE {t} ADD COLUMN mine int", allowed=False)
    expect("DROP TABLE {t}", allowed=False)
