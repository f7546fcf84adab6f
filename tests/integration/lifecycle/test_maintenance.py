"""What the report says of a real database, and that it advises only on evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from clm.lifecycle.maintenance import advice
from clm.storage.maintenance import DatabaseState, read_state

if TYPE_CHECKING:
    from tests.integration.lifecycle.parts import Parts, Site

_ROWS = 60_000


async def _secure(parts: Parts) -> DatabaseState:
    return await read_state(parts.secure, "secure")


async def _core(parts: Parts) -> DatabaseState:
    return await read_state(parts.core, "core")


def test_a_fresh_database_needs_nothing(site: Site) -> None:
    """Every table of ours is told of, a year of months is ahead, and there is nothing to advise."""
    for read in (_secure, _core):
        state = site.do(read)
        assert state.months_ahead == 12
        assert advice(state) == []
    names = {table.name for table in site.do(_secure).tables}
    assert {"public.certificates", "clm_work.outbox", "clm_audit.seals"} <= names


def test_an_index_is_to_be_built_anew_only_when_it_is_mostly_air(site: Site) -> None:
    """The same index full, then with nine of ten entries gone: only then it is named, and REINDEX mends it."""
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO clm_work.quarantined_objects (organization_id, token_serial, cka_id, label, object_class)"
            " SELECT gen_random_uuid(), 't', sha256(i::text::bytea), 'l', 'c' FROM generate_series(1, %(rows)s) AS i",
            {"rows": _ROWS},
        )
        connection.execute("VACUUM ANALYZE clm_work.quarantined_objects")
        assert advice(site.do(_secure), much_octets=1_000_000) == []
        connection.execute("DELETE FROM clm_work.quarantined_objects WHERE get_byte(cka_id, 0) % 10 > 0")
        connection.execute("VACUUM ANALYZE clm_work.quarantined_objects")
        advised = advice(site.do(_secure), much_octets=1_000_000)
        assert {sentence.partition(":")[0] for sentence in advised} == {
            f"REINDEX INDEX CONCURRENTLY clm_work.{name}" for name in _indexes(connection)
        }
        for sentence in advised:
            connection.execute(sentence.partition(":")[0].encode())
        connection.execute("VACUUM ANALYZE clm_work.quarantined_objects")
        assert advice(site.do(_secure), much_octets=1_000_000) == []


def test_what_keeps_vacuum_from_its_work_is_told(site: Site) -> None:
    """Dead rows that stay, an old open transaction, and months that run out: each by its number."""
    state = site.do(_secure)
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        connection.execute(
            "DROP TABLE " + ", ".join(f"clm_audit_parts.secure_audit_log_{month}" for month in _last_months(connection))
        )
    assert site.do(_secure).months_ahead == 2
    (sentence,) = advice(site.do(_secure))
    assert "partitions for 2 months" in sentence
    tables = [*state.tables]
    old = DatabaseState("secure", tables, [], open_transactions_span=2_000_000, months_ahead=12)
    (sentence,) = advice(old)
    assert "a transaction is open since 2000000 others" in sentence


def _indexes(connection: psycopg.Connection[tuple[str]]) -> list[str]:
    rows = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'quarantined_objects'").fetchall()
    return [row[0] for row in rows]


def _last_months(connection: psycopg.Connection[tuple[str]]) -> list[str]:
    rows = connection.execute(
        "SELECT right(c.relname, 7) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'secure_audit_log'::regclass ORDER BY 1 DESC LIMIT 10"
    ).fetchall()
    return [row[0] for row in rows]
