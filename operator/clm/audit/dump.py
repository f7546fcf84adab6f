"""A log in a file: what `clm audit export` writes, or a plain-text pg_dump; either may be gzipped.

A file need not be in order, and may be larger than memory: hashes and seals are sorted in a temporary SQLite file.
"""

from __future__ import annotations

import base64
import gzip
import re
import sqlite3
import tempfile
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from uuid import UUID

import orjson

from clm.audit.leaf import (
    COLUMNS,
    Leaf,
    fields_of_line,
    json_of_values,
    leaf_of,
    values_of_fields,
    values_of_json,
    values_of_line,
)
from clm.errors import RecordUnreadable
from clm.resources.seals import DATABASES, TABLES, ArchiveRow, SealRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clm.storage.ledger import Ledger


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


_SCHEMA = """
CREATE TABLE leaf (epoch INTEGER, txid INTEGER, id TEXT, occurred_at TEXT, hash BLOB, fault TEXT,
                   witness TEXT);
CREATE TABLE seal (batch INTEGER, epoch INTEGER, from_xid INTEGER, to_xid INTEGER, records INTEGER, total INTEGER,
                   root BLOB, previous BLOB, sealed_at TEXT, key_id TEXT, note TEXT, leaves BLOB);
CREATE TABLE archive (month TEXT, partition TEXT, records INTEGER, key_id TEXT, manifest TEXT, location TEXT);
CREATE TABLE sealing_key (id TEXT, spki BLOB);
CREATE TABLE ledger_epoch (epoch INTEGER, next_xid INTEGER);
"""
_COPY = re.compile(rb'COPY (?:"?(\w+)"?\.)?"?(\w+)"? \((.*)\) FROM stdin;')
_PARTITION = re.compile(r"(secure_audit_log|audit_log)(_\d{4}_\d{2})?")
_GZIP = b"\x1f\x8b"
_TOGETHER = 2000


class Dump:
    """A log that was read from a file."""

    def __init__(self, connection: sqlite3.Connection, database: str) -> None:
        self._connection = connection
        self.database = database

    def seals(self) -> Iterator[SealRow]:
        """Every seal in order of batches."""
        for row in self._connection.execute("SELECT * FROM seal ORDER BY batch"):
            values = dict(zip((column.name for column in _SEAL_FIELDS), row, strict=True))
            yield SealRow(**{**values, "sealed_at": datetime.fromisoformat(row[8]), "key_id": UUID(row[9])})

    def leaves(self) -> Iterator[Leaf]:
        """Every record in order of epoch, txid and id."""
        return map(Leaf._make, self._connection.execute("SELECT * FROM leaf ORDER BY epoch, txid, id"))

    def archives(self) -> Sequence[ArchiveRow]:
        """Every archive on record."""
        return [
            ArchiveRow(
                month=date.fromisoformat(row[0]),
                partition=row[1],
                records=row[2],
                key_id=UUID(row[3]),
                manifest=row[4],
                location=row[5],
            )
            for row in self._connection.execute("SELECT * FROM archive ORDER BY month")
        ]

    def keys(self) -> Mapping[UUID, bytes]:
        """The public keys that the file itself names."""
        return {UUID(row[0]): row[1] for row in self._connection.execute("SELECT * FROM sealing_key")}

    def epoch(self) -> int:
        """Epoch that records were written with last."""
        return int(self._connection.execute("SELECT coalesce(max(epoch), 1) FROM ledger_epoch").fetchone()[0])

    def next_xid(self) -> int | None:
        """The first transaction id that had not begun; a pg_dump does not tell."""
        found = self._connection.execute("SELECT max(next_xid) FROM ledger_epoch").fetchone()[0]
        return None if found is None else int(found)


def export(ledger: Ledger, out: _Writable) -> int:
    """Write a log with its seals as lines of JSON; gives the number of records."""

    def line(kind: str, value: Mapping[str, Any]) -> None:
        out.write(orjson.dumps({"kind": kind, **value}) + b"\n")

    line("log", {"database": DATABASES[ledger.ledger], "epoch": ledger.epoch(), "nextXid": ledger.next_xid()})
    for key_id, spki in ledger.keys().items():
        line("key", {"id": str(key_id), "spki": base64.b64encode(spki).decode()})
    for seal in ledger.seals():
        line("seal", seal_to_json(seal))
    for archive in ledger.archives():
        line("archive", {name: str(getattr(archive, name)) for name in archive.__slots__})
    number = 0
    for number, record in enumerate(ledger.lines(), 1):  # noqa: B007 - it is the count
        out.write(json_of_values(values_of_line(record)) + b"\n")
    return number


@contextmanager
def open_dump(path: Path, database: str) -> Iterator[Dump]:
    """Read a file. `database` is the one whose log is wanted. Raises RecordUnreadable."""
    with tempfile.TemporaryDirectory(prefix="clm-audit-") as folder:
        connection = sqlite3.connect(Path(folder) / "sorted", isolation_level=None)
        try:
            connection.executescript(f"PRAGMA journal_mode = off; PRAGMA synchronous = off; {_SCHEMA}")
            connection.execute("BEGIN")
            with open_plain(path) as file:
                start = file.peek(1)[:1]  # type: ignore[attr-defined]
                (_read_json if start == b"{" else _read_pg_dump)(file, connection, database)
            connection.execute("COMMIT")
            yield Dump(connection, database)
        finally:
            connection.close()


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be gzipped."""
    with path.open("rb") as file:
        if file.peek(2)[:2] != _GZIP:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as plain:
            yield plain  # type: ignore[misc]


def seal_to_json(seal: SealRow) -> dict[str, Any]:
    """A seal for a line of JSON."""
    return {column.name: column.write(getattr(seal, column.name)) for column in _SEAL_FIELDS}


def seal_from_json(value: Mapping[str, Any]) -> SealRow:
    """Read what `seal_to_json` writes. Raises RecordUnreadable."""
    try:
        return SealRow(**{column.name: column.read(value[column.name]) for column in _SEAL_FIELDS})
    except (KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"a seal is not written as it should be: {error!r}") from None


class _Field:
    """How one value of a seal is written in JSON, and read from JSON and from PostgreSQL."""

    def __init__(self, name: str, kind: str, column: str = "") -> None:
        self.name, self.kind, self.column = name, kind, column or name

    def write(self, value: Any) -> Any:  # noqa: ANN401
        if self.kind == "bytes":
            return base64.b64encode(value).decode()
        return value if self.kind in {"int", "str"} else str(value)

    def read(self, value: Any) -> Any:  # noqa: ANN401
        match self.kind:
            case "bytes":
                return base64.b64decode(value, validate=True)
            case "time":
                return datetime.fromisoformat(value)
            case "uuid":
                return UUID(value)
            case "int":
                return int(value)
        return str(value)

    def of_postgres(self, value: str) -> Any:  # noqa: ANN401
        return bytes.fromhex(value[2:]) if self.kind == "bytes" else self.read(value)


_SEAL_FIELDS = (
    _Field("batch", "int"),
    _Field("epoch", "int", "ledger_epoch"),
    _Field("from_xid", "int"),
    _Field("to_xid", "int"),
    _Field("records", "int"),
    _Field("total", "int"),
    _Field("root", "bytes"),
    _Field("previous", "bytes"),
    _Field("sealed_at", "time"),
    _Field("key_id", "uuid"),
    _Field("note", "str"),
    _Field("leaves", "bytes"),
)


def _read_json(file: BinaryIO, connection: sqlite3.Connection, database: str) -> None:
    leaves: list[Leaf] = []
    for line in file:
        try:
            value = orjson.loads(line)
            kind = value.get("kind")
        except (ValueError, AttributeError):
            raise RecordUnreadable(f"not a line of an export: {line[:80]!r}") from None
        if kind is None:
            leaves.append(leaf_of(values_of_json(value)))
            _flush(connection, leaves, _TOGETHER)
        elif kind == "log":
            if value.get("database") != database:
                raise RecordUnreadable(f"the file holds the log of {value.get('database')}, not of {database}")
            connection.execute("INSERT INTO ledger_epoch VALUES (?, ?)", (value.get("epoch"), value.get("nextXid")))
        elif kind == "seal":
            _put_seal(connection, seal_from_json(value))
        elif kind == "archive":
            names = ("month", "partition", "records", "key_id", "manifest", "location")
            connection.execute("INSERT INTO archive VALUES (?, ?, ?, ?, ?, ?)", [value[name] for name in names])
        elif kind == "key":
            spki = base64.b64decode(value["spki"])
            connection.execute("INSERT INTO sealing_key VALUES (?, ?)", (value["id"], spki))
    _flush(connection, leaves, 1)


def _read_pg_dump(file: BinaryIO, connection: sqlite3.Connection, database: str) -> None:
    table = next(TABLES[ledger] for ledger, name in DATABASES.items() if name == database)
    found = False
    for line in file:
        header = _COPY.match(line)
        if header is None:
            continue
        name, columns = header[2].decode(), [column.strip(b'" ').decode() for column in header[3].split(b",")]
        partition = _PARTITION.fullmatch(name)
        if partition is not None and partition[1] == table:
            found = True
            _read_records(_rows(file), columns, connection)
        elif header[1] == b"clm_audit":
            for row in _rows(file):
                values = {key: (value or b"").decode() for key, value in zip(columns, fields_of_line(row), strict=True)}
                _put_row(connection, name, values)
    if not found:
        raise RecordUnreadable(f"the file holds neither an export nor a plain-text pg_dump of {database}")


def _rows(file: BinaryIO) -> Iterator[bytes]:
    for line in file:
        if line == b"\\.\n":
            return
        yield line[:-1]


def _read_records(rows: Iterator[bytes], columns: Sequence[str], connection: sqlite3.Connection) -> None:
    try:
        order = [columns.index(name) for name in COLUMNS]
    except ValueError as error:
        raise RecordUnreadable(f"the dump lacks a column of the audit log: {error}") from None
    leaves: list[Leaf] = []
    for row in rows:
        fields = fields_of_line(row)
        leaves.append(leaf_of(values_of_fields([fields[index] for index in order])))
        _flush(connection, leaves, _TOGETHER)
    _flush(connection, leaves, 1)


def _put_row(connection: sqlite3.Connection, table: str, values: Mapping[str, str]) -> None:
    if table == "seals":
        _put_seal(
            connection, SealRow(**{field.name: field.of_postgres(values[field.column]) for field in _SEAL_FIELDS})
        )
    elif table == "archives":
        names = ("month", "partition", "records", "key_id", "manifest", "location")
        connection.execute("INSERT INTO archive VALUES (?, ?, ?, ?, ?, ?)", [values[name] for name in names])
    elif table == "sealing_keys":
        connection.execute("INSERT INTO sealing_key VALUES (?, ?)", (values["id"], bytes.fromhex(values["spki"][2:])))
    elif table == "epochs":
        connection.execute("INSERT INTO ledger_epoch VALUES (?, NULL)", (int(values["epoch"]),))


def _put_seal(connection: sqlite3.Connection, seal: SealRow) -> None:
    values = [getattr(seal, field.name) for field in _SEAL_FIELDS]
    values = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    values = [str(value) if isinstance(value, UUID) else value for value in values]
    connection.execute("INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def _flush(connection: sqlite3.Connection, leaves: list[Leaf], at_least: int) -> None:
    if len(leaves) >= at_least:
        connection.executemany("INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?, ?)", leaves)
        leaves.clear()
