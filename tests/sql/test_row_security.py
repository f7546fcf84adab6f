"""Who sees which organization's rows: every user by every table by the setting present, absent and foreign."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from clm.settings import SYSTEM_ORGANIZATION
from tests.fix_postgres import NAMES
from tests.sql.rows import insert
from tests.sql.tenants import NOBODY, ONE, OTHER, fill, protected

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator

    from clm.storage.migration_files import DatabaseName
    from tests.fix_postgres import DatabasePair, Server

    Connection = psycopg.Connection[tuple[Any, ...]]

# Users that serve all organizations, and those that are shown one. What each may read at all, the catalog says.
EVERYWHERE: list[tuple[DatabaseName, str]] = [
    ("secure", "clm_operator_secure"), ("secure", "clm_auditor"), ("secure", "clm_archiver"),
    ("core", "clm_operator_core"), ("core", "clm_auditor"), ("core", "clm_archiver"), ("core", "clm_responder"),
]  # fmt: skip
# FORCE: the owner has no more than that either.
ONE_AT_A_TIME: list[tuple[DatabaseName, str]] = [
    ("core", "clm_api"), ("core", "clm_webhook"), ("secure", "clm_owner"), ("core", "clm_owner"),
]  # fmt: skip
READS = "SELECT has_any_column_privilege(%s, %s, 'SELECT')"
SETTINGS = {"present": str(ONE), "foreign": str(NOBODY), "empty": "", "absent": None}
SHARED = {"roles", "workflows"}
"""Tables in which the system organization has rows for everybody."""


@pytest.fixture(scope="module")
def filled(postgres_server: Server) -> Iterator[DatabasePair]:
    """Both databases, with a row of two organizations in every table, and a workflow that is shared."""
    with postgres_server.pair() as pair:
        for name in NAMES:
            with psycopg.connect(pair.superuser_dsn(name), autocommit=True) as connection:
                for organization in (ONE, OTHER):
                    fill(connection, name, organization)
                if name == "core":
                    shared = {"organization_id": SYSTEM_ORGANIZATION, "name": "shared", "kind": "erasure"}
                    insert(connection, "workflows", shared)
                # A table that a migration adds has to be filled in `tenants`, or nothing below would be about it.
                for table in protected(connection):
                    assert seen(connection, table) >= {ONE, OTHER}, f"{table} is not filled"
        yield pair


@contextmanager
def acting(pair: DatabasePair, database: DatabaseName, user: str, setting: str | None = None) -> Iterator[Connection]:
    """A transaction as that user, for an organization if one is given; nothing of it stays."""
    login = "clm_migrator" if user == "clm_owner" else user
    with psycopg.connect(pair.dsn(database, login), autocommit=True) as connection:
        if user == "clm_owner":
            connection.execute("SET ROLE clm_owner")
        connection.execute("SET default_transaction_read_only = off")
        with connection.transaction(force_rollback=True):
            if setting is not None:
                connection.execute("SELECT set_config('clm.organization', %s, true)", [setting])
            yield connection


def seen(connection: Connection, table: str) -> set[uuid.UUID]:
    """Organizations of the rows that are seen in a table."""
    column = "id" if table == "organizations" else "organization_id"
    return {row[0] for row in connection.execute(f"SELECT {column} FROM {table}".encode()).fetchall()}


def count(connection: Connection, table: str) -> int:
    """Rows that are seen in a table."""
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def readable(filled: DatabasePair, database: DatabaseName, user: str) -> list[str]:
    """Tables with rows of organizations of which the user may read at least one column."""
    with psycopg.connect(filled.superuser_dsn(database)) as connection:
        tables = [it for it in protected(connection) if connection.execute(READS, [user, it]).fetchone() == (True,)]
    assert tables
    return tables


@pytest.mark.parametrize(("database", "user"), EVERYWHERE)
@pytest.mark.parametrize("setting", SETTINGS)
def test_who_serves_all_sees_all(filled: DatabasePair, database: DatabaseName, user: str, setting: str) -> None:
    """The operator, the auditor, the archiver and the responder see every organization's rows, whatever is set."""
    for table in readable(filled, database, user):
        with acting(filled, database, user, SETTINGS[setting]) as connection:
            if user == "clm_responder":
                assert count(connection, table) == 2, table
            else:
                assert seen(connection, table) >= {ONE, OTHER}, table


@pytest.mark.parametrize(("database", "user"), ONE_AT_A_TIME)
@pytest.mark.parametrize("setting", SETTINGS)
def test_everybody_else_sees_one_organization_or_nothing(
    filled: DatabasePair, database: DatabaseName, user: str, setting: str
) -> None:
    """Rows of the organization that is set, what the system organization shares with one that is set, nothing else."""
    for table in readable(filled, database, user):
        expected = {ONE} if setting == "present" else set()
        if table in SHARED and setting in {"present", "foreign"}:
            expected.add(SYSTEM_ORGANIZATION)
        with acting(filled, database, user, SETTINGS[setting]) as connection:
            assert seen(connection, table) == expected, table


@pytest.mark.parametrize("view", ["active_users_with_roles", "pending_approvals", "certificate_summary"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_views_show_what_their_tables_would(filled: DatabasePair, view: str, setting: str) -> None:
    """A view of the owner's would show every organization's rows."""
    with acting(filled, "core", "clm_api", SETTINGS[setting]) as connection:
        assert seen(connection, view) == ({ONE} if setting == "present" else set())


def test_members_from_elsewhere_are_seen_while_they_are_members(filled: DatabasePair) -> None:
    """A user whose home is another organization, and no further user of that one."""
    with (
        psycopg.connect(filled.superuser_dsn("core"), autocommit=True) as administrator,
        administrator.transaction(force_rollback=True),
    ):
        guest = insert(administrator, "users", {"organization_id": OTHER, "username": "guest"})
        membership = insert(administrator, "user_organizations", {"organization_id": ONE, "user_id": guest})
        administrator.execute("SET LOCAL ROLE clm_api")
        administrator.execute("SELECT set_config('clm.organization', %s, true)", [str(ONE)])
        names = "SELECT username FROM users ORDER BY username"
        assert administrator.execute(names).fetchall() == [("guest",), ("tenant-1",)]
        administrator.execute("UPDATE user_organizations SET left_at = now() WHERE id = %s", [membership])
        assert administrator.execute(names).fetchall() == [("tenant-1",)]


def test_a_row_for_another_organization_is_refused(filled: DatabasePair) -> None:
    """WITH CHECK: neither written for another, nor without an organization, nor for the system's."""
    record = (
        "INSERT INTO audit_log (organization_id, actor_type, actor_id, action, object_type, object_id)"
        " VALUES (%s, 'user', 'a', 'user.login', 'user', 'a')"
    )
    for setting in SETTINGS.values():
        for organization in (OTHER, SYSTEM_ORGANIZATION):
            with (
                acting(filled, "core", "clm_api", setting) as connection,
                pytest.raises(pg.InsufficientPrivilege, match="row-level security"),
            ):
                connection.execute(record, [organization])
    with acting(filled, "core", "clm_api", str(ONE)) as connection:
        connection.execute(record, [ONE])


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("users", "display_name = 'x'"), ("roles", "description = 'x'"), ("user_organizations", "is_default = false"),
        ("user_roles", "revoked_at = now()"), ("notifications", "read_at = now()"),
        ("api_keys", "revoked_at = now()"), ("sessions", "revoked_at = now()"), ("certificate_metadata", "notes = 'x'"),
    ],
)  # fmt: skip
def test_rows_of_others_are_not_changed(filled: DatabasePair, table: str, change: str) -> None:
    """Not even what everybody may see; with nothing set, nothing."""
    for setting, changed in ((str(ONE), 1), (str(NOBODY), 0), (None, 0)):
        with acting(filled, "core", "clm_api", setting) as connection:
            assert connection.execute(f"UPDATE {table} SET {change}".encode()).rowcount == changed


def test_the_setting_ends_with_its_transaction(filled: DatabasePair) -> None:
    """What a pool lends next starts without an organization."""
    with psycopg.connect(filled.dsn("core", "clm_api"), autocommit=True) as connection:
        with connection.transaction():
            connection.execute("SELECT set_config('clm.organization', %s, true)", [str(ONE)])
            assert seen(connection, "certificate_metadata") == {ONE}
        assert seen(connection, "certificate_metadata") == set()


def test_a_setting_that_is_no_organization_is_an_error(filled: DatabasePair) -> None:
    """Rather an error than somebody's rows."""
    with acting(filled, "core", "clm_api", "' OR true --") as connection, pytest.raises(pg.InvalidTextRepresentation):
        seen(connection, "users")


def test_it_cannot_be_switched_off(filled: DatabasePair) -> None:
    """row_security = off makes an error of every policy that would apply."""
    with acting(filled, "core", "clm_api", str(ONE)) as connection:
        connection.execute("SET LOCAL row_security = off")
        with pytest.raises(pg.InsufficientPrivilege, match="row-level security"):
            seen(connection, "users")


def test_every_table_is_protected(connection: Connection) -> None:
    """Enabled and forced on every table that has an organization, with a policy that reads the setting once a query."""
    found = connection.execute("""
        SELECT c.oid::regclass::text, c.relrowsecurity AND c.relforcerowsecurity,
               (SELECT pg_get_expr(p.polqual, c.oid) || coalesce(pg_get_expr(p.polwithcheck, c.oid), '')
                FROM pg_policy p WHERE p.polrelid = c.oid AND p.polroles = '{0}' AND p.polcmd = '*')
        FROM pg_class c
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
        AND (c.relnamespace::regnamespace::text IN ('public', 'clm_work', 'clm_status') OR EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id'))
    """).fetchall()
    assert {table for table, _, _ in found} == set(protected(connection))
    for table, forced, policy in found:
        assert forced, table
        assert policy.count("( SELECT (NULLIF(current_setting('clm.organization'::text, true), ''::text))::uuid") == 2


def test_the_organization_is_read_once_a_query(shared_databases: DatabasePair) -> None:
    """An InitPlan, and an index that leads with the organization: the trap of a policy is a setting read by row."""
    with acting(shared_databases, "core", "clm_api", str(ONE)) as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        query = "EXPLAIN SELECT count(*) FROM certificate_metadata WHERE common_name LIKE 'web%'"
        plan = "\n".join(row[0] for row in connection.execute(query.encode()).fetchall())
    assert "InitPlan" in plan
    assert "certificate_metadata_common_name" in plan or "certificate_metadata_not_after" in plan
    assert "organization_id = $0" in plan or "organization_id = (InitPlan" in plan


def test_no_reference_into_another_organization(core: Connection) -> None:
    """A foreign key sees past row-level security, so the organization is in the key."""
    for organization in (ONE, OTHER):
        fill(core, "core", organization)
    row = core.execute("SELECT id FROM workflow_instances WHERE organization_id = %s", [OTHER]).fetchone()
    assert row is not None
    step = {"instance_id": row[0], "step_number": 2, "kind": "approval", "name": "approve"}
    with pytest.raises(pg.ForeignKeyViolation):
        insert(core, "workflow_steps", {**step, "organization_id": ONE})
