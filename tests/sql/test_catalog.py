"""What the catalog must show of both schemas: their exact size, and rules that hold for every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    from clm.storage.migration_files import DatabaseName

    Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one schema consists of."""

    tables: set[str]
    views: set[str]
    updated_at: set[str]
    audit_log: str
    least_indexes: int


EXPECTED: dict[DatabaseName, Expected] = {
    "secure": Expected(
        tables={
            "encryption_keys", "certificates", "private_keys", "certificate_requests", "certificate_revocations",
            "key_rotation_history", "secure_audit_log",
        },
        views={"active_certificates", "expiring_certificates"},
        updated_at={"encryption_keys", "private_keys", "certificates", "certificate_requests"},
        audit_log="secure_audit_log",
        least_indexes=25,
    ),
    "core": Expected(
        tables={
            "users", "roles", "user_roles", "organizations", "user_organizations", "policies", "workflows",
            "workflow_instances", "workflow_steps", "notifications", "audit_log", "api_keys", "sessions",
            "certificate_metadata",
        },
        views={"active_users_with_roles", "pending_approvals", "certificate_summary"},
        updated_at={
            "users", "roles", "organizations", "policies", "workflows", "workflow_instances", "certificate_metadata",
        },
        audit_log="audit_log",
        least_indexes=45,
    ),
}  # fmt: skip

# Rows are wrapped again by key, and only living ones: the index must not cover the destroyed.
PARTIAL_ON_PURPOSE = {("private_keys", "private_keys_encryption_key_id_fkey")}

# Every foreign key that no index serves. An index serves it when it begins with a column of the key that tells more
# than the organization, or with all of its columns, and leaves out no more than rows where that column is null.
UNINDEXED = """
SELECT f.conrelid::regclass::text, f.conname::text
FROM pg_constraint f
WHERE f.contype = 'f' AND f.connamespace::regnamespace::text IN ('public', 'clm_work', 'clm_status')
AND NOT EXISTS (
    SELECT FROM pg_index i
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = f.conrelid AND i.indisvalid
    AND i.indkey[0] = ANY (f.conkey)
    AND (pg_get_expr(i.indpred, i.indrelid) IS NULL
         OR pg_get_expr(i.indpred, i.indrelid) = format('(%s IS NOT NULL)', a.attname))
    AND (a.attname <> 'organization_id' OR cardinality(f.conkey) = 1 OR i.indkey[1] = ANY (f.conkey))
)
"""

UNCOMMENTED = """
SELECT format('%s.%s', c.oid::regclass, a.attname)
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v')
AND c.relnamespace::regnamespace::text = ANY (ARRAY['public', 'clm_work', 'clm_meta', 'clm_status'])
AND col_description(c.oid, a.attnum) IS NULL
UNION ALL
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind IN ('r', 'p', 'v')
AND c.relnamespace::regnamespace::text = ANY (ARRAY['public', 'clm_work', 'clm_meta', 'clm_status'])
AND obj_description(c.oid, 'pg_class') IS NULL
"""

# As pg_trigger.tgtype counts: 1 for each row, 2 before, 8 delete, 16 update, 32 truncate.
BEFORE_UPDATE = 1 + 2 + 16
BEFORE_UPDATE_OR_DELETE = BEFORE_UPDATE + 8
BEFORE_TRUNCATE = 2 + 32

NOT_OF_EXTENSIONS = "NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = {}.oid AND d.deptype = 'e')"


def names(connection: Connection, query: str) -> set[str]:
    """First column of every row."""
    return {row[0] for row in connection.execute(query.encode()).fetchall()}


def triggers(connection: Connection, schema: str, function: str) -> set[tuple[str, int, str, str]]:
    """Table, kind, function and firing of every trigger of a schema that calls a function of that pattern."""
    query = """
        SELECT t.tgrelid::regclass::text, t.tgtype::int, t.tgfoid::regproc::text, t.tgenabled::text
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relnamespace = %s::regnamespace AND t.tgfoid::regproc::text LIKE %s
    """
    found = connection.execute(query, [schema, function]).fetchall()
    assert len(set(found)) == len(found)
    return set(found)


def test_tables_and_views(connection: Connection, database: DatabaseName) -> None:
    """Exactly the tables and views of the design are in public; partitions and bookkeeping are elsewhere."""
    of_kind = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN "
    assert names(connection, of_kind + "('r', 'p', 'f')") == EXPECTED[database].tables
    assert names(connection, of_kind + "('v', 'm')") == EXPECTED[database].views


def test_triggers_and_functions(connection: Connection, database: DatabaseName) -> None:
    """One function, and a trigger that calls it before updates of exactly these tables."""
    functions = f"""
        SELECT proname::text FROM pg_proc p
        WHERE pronamespace = 'public'::regnamespace AND {NOT_OF_EXTENSIONS.format("p")}
    """
    assert names(connection, functions) == {"set_updated_at"}
    updated_at = {(table, BEFORE_UPDATE, "set_updated_at", "O") for table in EXPECTED[database].updated_at}
    assert triggers(connection, "public", "set_updated_at") == updated_at


def test_guards(connection: Connection, database: DatabaseName) -> None:
    """Beside those, public has the guards of audit log, keys' states and reasons, which nothing puts to rest."""
    log = EXPECTED[database].audit_log
    guards = {
        (log, BEFORE_UPDATE_OR_DELETE, "clm_guard.refuse_change", "A"),
        (log, BEFORE_TRUNCATE, "clm_guard.refuse_change", "A"),
    }
    if database == "secure":
        guards.add(("encryption_keys", BEFORE_UPDATE, "clm_guard.check_key_state", "A"))
        guards.add(("certificate_revocations", BEFORE_UPDATE, "clm_guard.check_revocation_reason", "A"))
    assert triggers(connection, "public", "clm_guard.%") == guards
    partitions = names(connection, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'clm_audit_parts'")
    assert len(partitions) == 13
    assert triggers(connection, "clm_audit_parts", "%") == {
        (f"clm_audit_parts.{partition}", kind, "clm_guard.refuse_change", "A")
        for partition in partitions
        for kind in (BEFORE_UPDATE_OR_DELETE, BEFORE_TRUNCATE)
    }


def test_indexes_and_extensions(connection: Connection, database: DatabaseName) -> None:
    """There are at least as many indexes as asked for, and both extensions, which nothing depends on."""
    indexes = names(connection, "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'")
    assert len(indexes) >= EXPECTED[database].least_indexes
    assert names(connection, "SELECT extname::text FROM pg_extension") >= {"uuid-ossp", "pgcrypto"}
    defaults = names(connection, "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef")
    assert not [default for default in defaults if "uuid_generate" in default]


def test_gin_only_where_it_is_queried(connection: Connection, database: DatabaseName) -> None:
    """A GIN index doubles the cost of an INSERT: none in clm_secure_db, three in clm_core_db, all jsonb_path_ops."""
    gin = names(
        connection, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%USING gin%'"
    )
    assert all("jsonb_path_ops" in definition for definition in gin)
    assert len(gin) == {"secure": 0, "core": 3}[database]


def test_every_table_has_a_uuid_key(connection: Connection) -> None:
    """The primary key is the uuid `id`; an audit log's has the time that it is partitioned by as well."""
    rows = connection.execute("""
        SELECT c.relname::text, c.relkind = 'p',
               array_agg(a.attname::text || ' ' || format_type(a.atttypid, NULL) ORDER BY a.attnum)
        FROM pg_class c
        LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        GROUP BY c.oid
    """).fetchall()
    assert rows
    for table, partitioned, key in rows:
        expected = ["id uuid"] + (["occurred_at timestamp with time zone"] if partitioned else [])
        assert key == expected, table


def test_every_row_has_its_organization(connection: Connection) -> None:
    """Every table but that of the organizations themselves has a mandatory organization_id."""
    found = names(
        connection,
        "SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = 'organization_id' AND attnotnull"
        " AND attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p'))",
    )
    tables = names(
        connection,
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace::regnamespace::text IN ('public', 'clm_work', 'clm_status')",
    )
    assert tables - found <= {"organizations"}


def test_every_foreign_key_is_indexed(connection: Connection) -> None:
    """Nothing that is referred to has to be sought by reading a whole table."""
    missing = set(connection.execute(UNINDEXED).fetchall())
    assert missing <= PARTIAL_ON_PURPOSE


def test_the_search_for_unindexed_keys_finds_one(core: Connection) -> None:
    """The query of the test above is not blind."""
    core.execute("DROP INDEX user_roles_role_id")
    core.execute("DROP INDEX workflow_instances_policy_id")
    found = {table for table, _ in core.execute(UNINDEXED).fetchall()}
    assert found == {"user_roles", "workflow_instances"}


def test_everything_is_explained(connection: Connection) -> None:
    """Every table, view and column has a comment."""
    assert names(connection, UNCOMMENTED) == set()


def test_views_apply_the_rights_of_the_caller(connection: Connection, database: DatabaseName) -> None:
    """A view of the owner's would show every tenant's rows."""
    found = names(
        connection,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"
        " AND 'security_invoker=true' = ANY (reloptions)",
    )
    assert found == EXPECTED[database].views


@pytest.mark.parametrize("table", ["pg_foreign_server", "pg_foreign_table", "pg_subscription_rel"])
def test_nothing_reaches_another_database(connection: Connection, table: str) -> None:
    """No foreign server, no foreign table, no subscription; and no extension that could make one."""
    assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)
    extensions = names(connection, "SELECT extname::text FROM pg_extension")
    assert extensions == {"plpgsql", "uuid-ossp", "pgcrypto"}


def test_enumerations_and_times(connection: Connection) -> None:
    """A state or kind is one of a list, and no time is without its zone."""
    unchecked = names(
        connection,
        """
        SELECT format('%s.%s', a.attrelid::regclass, a.attname)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
        WHERE c.relnamespace = 'public'::regnamespace
        AND a.attname IN ('state', 'status', 'purpose', 'target_kind', 'actor_type', 'outcome', 'channel', 'severity')
        AND NOT EXISTS (SELECT FROM pg_constraint k
                        WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
                        AND pg_get_constraintdef(k.oid) LIKE '%ANY (ARRAY[%')
        """,
    )
    assert unchecked == set()
    assert not names(
        connection,
        "SELECT attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid"
        " WHERE c.relnamespace = 'public'::regnamespace AND atttypid = 'timestamp'::regtype",
    )
