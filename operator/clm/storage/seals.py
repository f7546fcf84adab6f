"""Seals of one audit log: which records are over and not sealed, and the one way in which seals are written.

`pg_snapshot_xmin` is the oldest transaction that still runs: whatever is below it has ended, so a range that ends there
can gain no record. Neither this nor the lock that keeps two sealers apart is seen by those who write records.

Records are hashed in the database, which costs the sealer a third of reading them. Whoever could have the database lie
about that could as well have it lie about the records; and verification reads and hashes them itself.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from clm.resources.audit import SEALED_COLUMNS
from clm.resources.seals import TABLES, Span

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from clm.resources.seals import LedgerName, SealRow
    from clm.storage.database import Connection, Database

# "CLM" and a number: one for each thing that is locked in a database.
_LOCK_KEY = 0x434C4D03
_HASH_OCTETS = 32

# What decides how a value is written down must not depend on how a server or a role is set.
SESSION = "SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; SET LOCAL bytea_output = 'hex'; SET LOCAL jit = off"

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
# The same octets as clm.audit.leaf makes of a record that was read.
_OCTETS = {
    "occurred_at": """convert_to(to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'UTF8')""",
    "source_ip": "convert_to(abbrev(source_ip), 'UTF8')",
    "details_canonical": "details_canonical",
}
_FIELDS = " || ".join(
    f"coalesce(int4send(octet_length({octets})) || {octets}, '\\xffffffff')"
    for octets in (_OCTETS.get(name, f"convert_to({name}::text, 'UTF8')") for name in SEALED_COLUMNS)
)
_ENTRY = "'\\x00' || " + _FIELDS
_LIMITED = f"(SELECT txid, id, sha256({_ENTRY}) AS leaf {_RANGE} {{below}} ORDER BY txid, id {{limit}})"
_BATCH = sql.SQL(
    "SELECT count(*), string_agg(leaf, '' ORDER BY txid, id),"  # noqa: S608 - constants only
    f" string_agg(int8send(txid::text::bigint), '' ORDER BY txid, id) FROM {_LIMITED} AS batch"
)
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that can be sealed: their span, and their leaf hashes one after the other.

    `more`: others can be sealed at once, which this one had no room for.
    """

    span: Span
    leaves: bytes
    more: bool


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

    async def batch(self, *, epoch: int, from_xid: int, horizon: Horizon, limit: int) -> Batch | None:
        """The next batch of an epoch: whole transactions, at most `limit` records but of a larger transaction.

        None without any record. An epoch that is over has no writers: it is sealed to its end.
        """
        end = horizon.ended if epoch == horizon.epoch else None
        leaves, txids = await self._hashed(epoch, from_xid, end, limit=limit + 1)
        if not txids:
            return None
        if len(txids) <= limit:
            return Batch(Span(epoch, from_xid, txids[-1] + 1 if end is None else end), leaves, more=end is None)
        # The last transaction may go on beyond the limit: it comes into the next batch, unless it is alone.
        whole = bisect_left(txids, txids[-1])
        if whole:
            return Batch(Span(epoch, from_xid, txids[-1]), leaves[: whole * _HASH_OCTETS], more=True)
        leaves, _ = await self._hashed(epoch, from_xid, txids[-1] + 1)
        return Batch(Span(epoch, from_xid, txids[-1] + 1), leaves, more=True)

    async def _hashed(
        self, epoch: int, from_xid: int, to_xid: int | None, *, limit: int | None = None
    ) -> tuple[bytes, Sequence[int]]:
        """Leaf hashes and transaction ids of the records of a range, in order."""
        below = sql.SQL("") if to_xid is None else sql.SQL("AND txid < {}::xid8").format(_xid(to_xid))
        most = sql.SQL("") if limit is None else sql.SQL("LIMIT {}").format(sql.Literal(limit))
        query = self._query(_BATCH, epoch, from_xid, below=below, limit=most)
        row = await (await self._connection.execute(query, binary=True)).fetchone()
        if row is None or not row[0]:
            return b"", ()
        return bytes(row[1]), struct.unpack(f">{row[0]}q", row[2])

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

    def _query(self, query: sql.SQL, epoch: int, from_xid: int, **parts: sql.Composable) -> sql.Composed:
        return query.format(table=self._table, epoch=sql.Literal(epoch), from_xid=_xid(from_xid), **parts)


def _xid(number: int) -> sql.Literal:
    # Quoted: xid8 takes no number, and may be larger than one.
    return sql.Literal(str(number))
