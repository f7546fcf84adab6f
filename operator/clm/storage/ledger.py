"""Reads an audit log with its seals, for verification, search and archives: in one snapshot, in bounded memory.

Synchronous, for commands. A snapshot that only reads holds no transaction id and so never keeps the sealer waiting.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row

from clm.errors import AuditFailed, DatabaseUnavailable
from clm.resources.seals import TABLES, ArchiveRow, SealRow
from clm.storage.seals import COLUMNS, SESSION

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from clm.resources.seals import LedgerName

    Connection = psycopg.Connection[tuple[Any, ...]]

_SEALS = """
SELECT batch, ledger_epoch AS epoch, from_xid::text AS from_xid, to_xid::text AS to_xid, records, total,
       root, previous, sealed_at, key_id, note, leaves
FROM clm_audit.seals
"""
_NOTES = "SELECT batch, note FROM clm_audit.seals WHERE batch >= %(first)s ORDER BY batch"
_ARCHIVES = "SELECT month, partition, records, key_id, manifest, location FROM clm_audit.archives ORDER BY month"
_KEYS = "SELECT id, spki FROM clm_audit.sealing_keys ORDER BY first_used_at"
_LAST = "SELECT coalesce(max(batch), 1) FROM clm_audit.seals"
_EPOCH = "SELECT max(epoch) FROM clm_audit.epochs"
_NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
_PARTITION = "SELECT to_regclass('clm_audit_parts.' || %(name)s::text) IS NOT NULL"
_RECORD_ARCHIVE = """
SELECT clm_guard.record_archive(%(month)s, %(records)s, %(key_id)s, %(manifest)s, %(location)s)
"""
_IS_SEALED = "SELECT clm_guard.archive_is_sealed(%(month)s)"
_DROP = "SELECT clm_guard.drop_archived_partition(%(month)s, %(manifest_sha256)b)"

_EPOCHS = sql.SQL("SELECT DISTINCT ledger_epoch FROM public.{table} ORDER BY 1")
_COPY = sql.SQL("COPY (SELECT {columns} FROM public.{table} WHERE {where} ORDER BY txid, id) TO STDOUT")
_MONTH = sql.SQL("occurred_at >= {first} AND occurred_at < {first}::timestamptz + interval '1 month'")

_READ_TOGETHER = 64 * 1024


class Ledger:
    """One audit log, as it was when it was opened."""

    def __init__(self, connection: Connection, copying: Connection, ledger: LedgerName) -> None:
        """Take two connections in one snapshot: while one copies records it can do nothing else."""
        self.ledger = ledger
        self._connection = connection
        self._copying = copying
        self._table = sql.Identifier(TABLES[ledger])

    def seals(self, *, first: int = 1) -> Iterator[SealRow]:
        """Every seal from batch `first` on, in order."""
        # A seal with its hashes is large: they come in few at a time.
        with self._connection.cursor("clm_seals", row_factory=dict_row) as cursor:
            cursor.itersize = 20
            cursor.execute(f"{_SEALS} WHERE batch >= %(first)s ORDER BY batch".encode(), {"first": first})
            for row in cursor:
                yield _seal(row)

    def last_batch(self) -> int:
        """Number of the newest seal; 1 where there is none."""
        return int((self._connection.execute(_LAST).fetchone() or (1,))[0])

    def seal_of(self, *, epoch: int, txid: int) -> SealRow | None:
        """The seal whose range holds a transaction."""
        # Not by the column of that name in the answer, which is text.
        query = f"""{_SEALS}
            WHERE ledger_epoch = %(epoch)s AND from_xid <= %(txid)s::text::xid8 ORDER BY seals.from_xid DESC LIMIT 1
        """
        with self._connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(query.encode(), {"epoch": epoch, "txid": str(txid)}).fetchone()
        seal = None if row is None else _seal(row)
        return seal if seal is not None and txid < seal.to_xid else None

    def notes(self, *, first: int) -> Iterator[tuple[int, str]]:
        """Number and note of every seal from batch `first` on, in order."""
        with self._connection.cursor("clm_notes") as cursor:
            cursor.execute(_NOTES.encode(), {"first": first})
            yield from cursor

    def lines(self, *, month: date | None = None) -> Iterator[bytes]:
        """Every record, or those of a month, in order of epoch, txid and id, as COPY writes them."""
        for (epoch,) in self._connection.execute(_EPOCHS.format(table=self._table)).fetchall():
            where = sql.SQL("ledger_epoch = {}").format(sql.Literal(epoch))
            if month is not None:
                # The session is in UTC, and so are the months.
                where += sql.SQL(" AND ") + _MONTH.format(first=sql.Literal(month.isoformat()))
            yield from self._copy(where)

    def record(self, record_id: uuid.UUID) -> bytes | None:
        """One record."""
        where = sql.SQL("id = {}").format(sql.Literal(str(record_id)))
        return next(iter(list(self._copy(where))), None)

    def records_of(self, *, epoch: int, from_xid: int, to_xid: int) -> Iterator[bytes]:
        """The records of a batch."""
        where = sql.SQL("ledger_epoch = {} AND txid >= {}::xid8 AND txid < {}::xid8").format(
            sql.Literal(epoch), sql.Literal(str(from_xid)), sql.Literal(str(to_xid))
        )
        return self._copy(where)

    def archives(self) -> list[ArchiveRow]:
        """Every archive on record, oldest month first."""
        with self._connection.cursor(row_factory=class_row(ArchiveRow)) as cursor:
            return cursor.execute(_ARCHIVES).fetchall()

    def keys(self) -> dict[uuid.UUID, bytes]:
        """The public keys that the database itself names."""
        return {row[0]: bytes(row[1]) for row in self._connection.execute(_KEYS).fetchall()}

    def epoch(self) -> int:
        """Epoch that records are written with now."""
        return int((self._connection.execute(_EPOCH).fetchone() or (1,))[0])

    def next_xid(self) -> int:
        """The first transaction id that had not begun when the snapshot was taken."""
        return int((self._connection.execute(_NEXT).fetchone() or (0,))[0])

    def has_partition(self, name: str) -> bool:
        """Whether a partition of that name stands."""
        return bool((self._connection.execute(_PARTITION, {"name": name}).fetchone() or (False,))[0])

    def _copy(self, where: sql.Composable) -> Iterator[bytes]:
        query = _COPY.format(columns=COLUMNS, table=self._table, where=where)
        rest = bytearray()
        with self._copying.cursor() as cursor, cursor.copy(query) as copy:
            for data in copy:
                rest += data
                if len(rest) >= _READ_TOGETHER:
                    *lines, last = bytes(rest).split(b"\n")
                    rest = bytearray(last)
                    yield from lines
        yield from bytes(rest).split(b"\n")[:-1]


@contextmanager
def open_ledger(dsn: str, ledger: LedgerName) -> Iterator[Ledger]:
    """Open the log of one database in one read-only snapshot. Raises DatabaseUnavailable, AuditFailed."""
    with _snapshot(dsn) as connection:
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        with _snapshot(dsn, row[0] if row is not None else None) as copying:
            yield Ledger(connection, copying, ledger)


def record_archive(dsn: str, archive: ArchiveRow) -> None:
    """Record that a month was archived. Raises DatabaseUnavailable, AuditFailed."""
    with _connected(dsn) as connection:
        values = {name: getattr(archive, name) for name in ("month", "records", "key_id", "manifest", "location")}
        connection.execute(_RECORD_ARCHIVE, values)


def archive_is_sealed(dsn: str, month: date) -> bool:
    """Whether the record that a month was archived is sealed. Raises DatabaseUnavailable, AuditFailed."""
    with _connected(dsn) as connection:
        row = connection.execute(_IS_SEALED, {"month": month}).fetchone()
        return row is not None and bool(row[0])


def drop_archived_partition(dsn: str, month: date, *, manifest_sha256: bytes) -> int:
    """Drop the partition of an archived month; gives the number of records that went.

    Raises DatabaseUnavailable, and AuditFailed where it holds anything that is not sealed and archived.
    """
    with _connected(dsn) as connection:
        row = connection.execute(_DROP, {"month": month, "manifest_sha256": manifest_sha256}).fetchone()
        return int(row[0]) if row is not None else 0


def search_records(
    dsn: str, ledger: LedgerName, where: Sequence[sql.Composable], *, limit: int
) -> list[Mapping[str, Any]]:
    """Records that fulfil all conditions, newest first."""
    condition = sql.SQL(" AND ").join(where) if where else sql.SQL("true")
    query = sql.SQL(
        "SELECT {columns} FROM public.{table} WHERE {condition} ORDER BY occurred_at DESC, id DESC LIMIT {limit}"
    ).format(columns=COLUMNS, table=sql.Identifier(TABLES[ledger]), condition=condition, limit=sql.Literal(limit))
    with _connected(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(query).fetchall())


@contextmanager
def _snapshot(dsn: str, snapshot: str | None = None) -> Iterator[Connection]:
    with _connected(dsn) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if snapshot is not None:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        connection.execute(SESSION)
        # It reads everything, however long that takes.
        connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection


@contextmanager
def _connected(dsn: str) -> Iterator[Connection]:
    try:
        with psycopg.connect(dsn, autocommit=True, application_name="clm-audit", connect_timeout=10) as connection:
            connection.execute("SET search_path = pg_catalog, public")
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable(str(error).strip().splitlines()[0][:300]) from None
    except psycopg.Error as error:
        raise AuditFailed(f"the database answers: {error.diag.message_primary or error}") from None


def _seal(row: dict[str, Any]) -> SealRow:
    for name in ("root", "previous", "leaves"):
        row[name] = bytes(row[name])
    return SealRow(**{**row, "from_xid": int(row["from_xid"]), "to_xid": int(row["to_xid"])})
