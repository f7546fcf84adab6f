"""What to do about a database: pure advice, given only where the numbers ask for it.

Vacuum and analysis are autovacuum's work; an index is built anew when it is large and mostly air, not by the calendar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.storage.maintenance import DatabaseState

MUCH_OCTETS = 32 * 1024 * 1024
"""An index that would save less is not worth the work."""

_AIR = 0.5
_DEAD = 0.3
_MANY_DEAD = 10_000
_LONG_SPAN = 1_000_000
_OLD = 1_000_000_000
_LEAST_MONTHS = 3


def advice(state: DatabaseState, *, much_octets: int = MUCH_OCTETS) -> list[str]:
    """Sentences, one for each thing that should be done; none where all is well."""
    return [*_on_months(state), *_on_transactions(state), *_on_tables(state), *_on_indexes(state, much_octets)]


def _on_months(state: DatabaseState) -> Iterator[str]:
    if state.months_ahead < _LEAST_MONTHS:
        yield (
            f"the audit log has partitions for {state.months_ahead} months after this one: the controller makes them,"
            " so its log says why it cannot; without one no act is recorded and none happens"
        )


def _on_transactions(state: DatabaseState) -> Iterator[str]:
    if state.open_transactions_span > _LONG_SPAN:
        yield (
            f"a transaction is open since {state.open_transactions_span} others: vacuum removes nothing younger, and"
            " the audit log is not sealed; find it in pg_stat_activity by backend_xmin, or in pg_replication_slots"
        )


def _on_tables(state: DatabaseState) -> Iterator[str]:
    for table in state.tables:
        if table.dead > _MANY_DEAD and table.dead > _DEAD * (table.live + table.dead):
            yield f"{table.name} has {table.dead} dead rows to {table.live} live ones: see why autovacuum does not come"
        if table.age > _OLD:
            yield f"VACUUM (FREEZE) {table.name}: its oldest row is {table.age} transactions old"


def _on_indexes(state: DatabaseState, much_octets: int) -> Iterator[str]:
    for index in state.indexes:
        if index.wasted_octets >= much_octets and index.wasted_octets > _AIR * index.octets:
            saved = index.wasted_octets // (1024 * 1024)
            yield f"REINDEX INDEX CONCURRENTLY {index.name}: by estimate it would be {saved} MiB smaller"
