"""Seals of one audit log: which records are over and not sealed, and the one way in which seals are written.

`pg_snapshot_xmin` is the oldest transaction that still runs: whatever is below it has ended, so a range that ends there
can gain no record. Neither this nor the lock that keeps two sealers apart is seen by those who write records.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from clm.resources.audit import SEALED_COLUMNS
from clm.resources.seals import TABLES, Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clm.resources.seals import LedgerName, SealRow
    from clm.storage.database import Connection, Database

# "CLM" and a number: one for each thing that is locked in a database.
_LOCK_KEY = 0x434C4D03

# What decides how a value is written down must not depend on how a server or a role is set.
SESSION = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex'"

COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in (*SEALED_COLUMNS, "details"))
"""What is read of a record, in the order in which it is hashed."""

_NOTES = """
SELECT batch, note FROM clm_audit.seals
WHERE batch = (SELECT max(batch) FROM clm_audit.seals) OR batch = %(batch)s
ORDER BY batch DESC
"""

_HORIZON = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text,
       (SELECT max(epoch) FROM clm_audit.epochs)
"""

_RANGE = "FROM public.{table} WHERE ledger_epoch = {epoch} AND txid >= {from_xid}::xid8"
_NEXT = sql.SQL("SELECT txid::text " + _RANGE + " {below} ORDER BY txid OFFSET {offset} LIMIT 1")
_LAST = sql.SQL("SELECT txid::text " + _RANGE + " ORDER BY txid DESC LIMIT 1")
_COPY = sql.SQL("COPY (SELECT {columns} " + _RANGE + " AND txid < {to_xid}::xid8 ORDER BY txid, id) TO STDOUT")
_AGE = "SELECT extract(epoch FROM clock_timestamp() - occurred_at)::float8 "
_OLDEST = sql.SQL(_AGE + _RANGE + " ORDER BY txid LIMIT 1")

_INSERT_KEY = "INSERT INTO clm_audit.sealing_keys (id, spki) VALUES (%(id)s, %(spki)s) ON CONFLICT DO NOTHING"
_INSERT = """
INSERT INTO clm_audit.seals
    (batch, ledger_epoch, from_xid, to_xid, records, total, root, previous, sealed_at, key_id, note, leaves)
VALUES
    (%(batch)s, %(epoch)s, %(from_xid)s::text::xid8, %(to_xid)s::text::xid8, %(records)s, %(total)s, %(root)b,
     %(previous)b, %(sealed_at)s, %(key_id)s, %(note)s, %(leaves)b)
"""


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far transactions have come: below `ended` all have ended, from `next` on none has begun."""

    ended: int
    next: int
    epoch: int


class SealStore:
    """The seals of one database."""

    def __init__(self, database: Database, ledger: LedgerName) -> None:
        self._database = database
        self._table = sql.Identifier(TABLES[ledger])

    @asynccontextmanager
    async def sealing(self) -> AsyncIterator[Sealing | None]:
        """Lend the one transaction in which a batch is sealed; None while another process has it.

        Raises DatabaseUnavailable.
        """
        async with self._database.transaction() as connection:
            await connection.execute(SESSION)
            cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK_KEY])
            row = await cursor.fetchone()
            yield Sealing(connection, self._table) if row is not None and row[0] else None


class Sealing:
    """What is done in that transaction."""

    def __init__(self, connection: Connection, table: sql.Identifier) -> None:
        self._connection = connection
        self._table = table

    async def notes(self, batch: int) -> list[tuple[int, str]]:
        """Number and note of the newest seal, and of `batch` where that is another; newest first."""
        cursor = await self._connection.execute(_NOTES, {"batch": batch})
        return [(int(row[0]), str(row[1])) for row in await cursor.fetchall()]

    async def horizon(self) -> Horizon:
        """Tell how far transactions have come."""
        cursor = await self._connection.execute(_HORIZON)
        ended, following, epoch = await cursor.fetchone() or (0, 0, 1)
        return Horizon(int(ended), int(following), int(epoch))

    async def span(self, *, epoch: int, from_xid: int, horizon: Horizon, limit: int) -> Span | None:
        """The next batch of an epoch: whole transactions, about `limit` records at most; None without any record.

        An epoch that is over has no writers: it is sealed to its end.
        """
        below = sql.SQL("AND txid < {}::xid8").format(_xid(horizon.ended)) if epoch == horizon.epoch else sql.SQL("")
        first = await self._xid(_NEXT, epoch, from_xid, below=below, offset=sql.Literal(0))
        if first is None:
            return None
        beyond = await self._xid(_NEXT, epoch, from_xid, below=below, offset=sql.Literal(limit))
        if beyond is not None:
            return Span(epoch, from_xid, max(beyond, first + 1))
        if epoch == horizon.epoch:
            return Span(epoch, from_xid, horizon.ended)
        last = await self._xid(_LAST, epoch, from_xid)
        return None if last is None else Span(epoch, from_xid, last + 1)

    async def lines(self, span: Span) -> list[bytes]:
        """The records of a span in order of txid and id, as COPY writes them."""
        query = self._query(_COPY, span.epoch, span.from_xid, columns=COLUMNS, to_xid=_xid(span.to_xid))
        received = bytearray()
        async with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            async for data in copy:
                received += data
        return bytes(received).split(b"\n")[:-1]

    async def oldest_s(self, *, epoch: int, from_xid: int) -> float:
        """Age in seconds of the oldest record from there on; 0 without any."""
        cursor = await self._connection.execute(self._query(_OLDEST, epoch, from_xid))
        row = await cursor.fetchone()
        return max(float(row[0]), 0.0) if row is not None else 0.0

    async def insert(self, seal: SealRow, *, spki: bytes) -> None:
        """Write a seal and the public key that it verifies under."""
        await self._connection.execute(_INSERT_KEY, {"id": seal.key_id, "spki": spki})
        values: dict[str, Any] = {name: getattr(seal, name) for name in seal.__slots__}
        await self._connection.execute(_INSERT, values)

    async def _xid(self, query: sql.SQL, epoch: int, from_xid: int, **parts: sql.Composable) -> int | None:
        cursor = await self._connection.execute(self._query(query, epoch, from_xid, **parts))
        row = await cursor.fetchone()
        return None if row is None else int(row[0])

    def _query(self, query: sql.SQL, epoch: int, from_xid: int, **parts: sql.Composable) -> sql.Composed:
        return query.format(table=self._table, epoch=sql.Literal(epoch), from_xid=_xid(from_xid), **parts)


def _xid(number: int) -> sql.Literal:
    # Quoted: xid8 takes no number, and may be larger than one.
    return sql.Literal(str(number))
