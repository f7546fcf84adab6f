"""What a DBA wants to know of a database: dead rows, bloat, what holds vacuum back, months ahead.

All of it is read from the catalog and the statistics, by the rights that every user of CLM has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from clm.storage.partitions import months_ahead

if TYPE_CHECKING:
    from datetime import datetime

    from clm.storage.database import Database
    from clm.storage.migration_files import DatabaseName

_OURS = "('public', 'clm_work', 'clm_status', 'clm_meta', 'clm_audit', 'clm_audit_parts')"

_TABLES = f"""
SELECT s.schemaname || '.' || s.relname AS name, n_live_tup AS live, n_dead_tup AS dead,
       pg_table_size(s.relid) AS octets, greatest(last_vacuum, last_autovacuum) AS vacuumed_at,
       greatest(last_analyze, last_autoanalyze) AS analyzed_at, age(c.relfrozenxid) AS age
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid AND c.relkind = 'r'
WHERE s.schemaname IN {_OURS}
ORDER BY n_dead_tup DESC, name
"""  # noqa: S608 - constants only

# An index page holds 8192 octets less 24 of header and 16 of its own; a fresh one is filled to 90 percent. An entry
# costs 8 octets, its columns by their average width rounded up to 8, and 4 for its pointer. PostgreSQL stores equal
# entries once, so the estimate is above what is needed rather than below: bloat is not seen where there is none.
_INDEXES = f"""
SELECT s.schemaname || '.' || s.indexrelname AS name, s.schemaname || '.' || s.relname AS table_name,
       pg_relation_size(s.indexrelid) AS octets, s.idx_scan AS scans,
       coalesce(8192 * (1 + ceil(c.reltuples * (12 + 8 * ceil(widths.total / 8.0)) / (8152 * 0.9))), 0)::bigint
           AS needed_octets
FROM pg_stat_user_indexes s
JOIN pg_class c ON c.oid = s.indexrelid
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
JOIN LATERAL (
    SELECT sum(coalesce(p.avg_width, 16)) AS total
    FROM pg_attribute i
    LEFT JOIN pg_index x ON x.indexrelid = i.attrelid
    LEFT JOIN pg_attribute t ON t.attrelid = x.indrelid AND t.attnum = x.indkey[i.attnum - 1]
    LEFT JOIN pg_stats p ON p.schemaname = s.schemaname AND p.tablename = s.relname AND p.attname = t.attname
    WHERE i.attrelid = s.indexrelid AND i.attnum > 0
) AS widths ON true
WHERE s.schemaname IN {_OURS} AND c.reltuples >= 0
ORDER BY octets DESC, name
"""  # noqa: S608 - constants only

# The snapshot spans every transaction that still runs, whoever's it is; pg_stat_activity would hide others' from us.
_HORIZON = """
SELECT pg_snapshot_xmax(s)::text::numeric - pg_snapshot_xmin(s)::text::numeric
FROM (SELECT pg_current_snapshot() AS s) AS now
"""


@dataclass(frozen=True, slots=True)
class TableState:
    """One table, by the statistics. `age` counts transactions since its oldest row was frozen."""

    name: str
    live: int
    dead: int
    octets: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None
    age: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """One B-tree index, and how many octets its entries would need in a fresh one, by estimate."""

    name: str
    table_name: str
    octets: int
    scans: int
    needed_octets: int

    @property
    def wasted_octets(self) -> int:
        """How much of it a fresh index would save."""
        return max(0, self.octets - self.needed_octets)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """One database. `open_transactions_span`: how many transactions began since the oldest that still runs."""

    database: DatabaseName
    tables: list[TableState]
    indexes: list[IndexState]
    open_transactions_span: int
    months_ahead: int


async def read_state(database: Database, name: DatabaseName) -> DatabaseState:
    """Read how a database is. Raises DatabaseUnavailable."""
    async with database.connection() as connection:
        async with connection.cursor(row_factory=class_row(TableState)) as cursor:
            await cursor.execute(_TABLES.encode())
            tables = await cursor.fetchall()
        async with connection.cursor(row_factory=class_row(IndexState)) as cursor:
            await cursor.execute(_INDEXES.encode())
            indexes = await cursor.fetchall()
        row = await (await connection.execute(_HORIZON)).fetchone()
        ahead = await months_ahead(connection, name)
    return DatabaseState(name, tables, indexes, int(row[0]) if row else 0, ahead)
