"""One audit record as a seal covers it.

The entry of a record is every column of SEALED_COLUMNS in that order, each as four octets of length (big-endian) and
the value in UTF-8; NULL is the length ffffffff without a value. Ids are in lower case, numbers decimal, times
`2026-03-01T12:00:00.000000Z`, and `details_canonical` is its own octets. The column `details` is there for queries
only: it has to say the same as `details_canonical`, which is checked here.

Records are read from the text format of PostgreSQL's COPY, which is what a server sends and what pg_dump writes.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import rfc8785

from clm.audit.tree import leaf_hash
from clm.errors import RecordUnreadable
from clm.resources.audit import SEALED_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = (*SEALED_COLUMNS, "details")
"""Columns in the order in which this module takes them."""

_ID, _OCCURRED_AT, _EPOCH, _TXID, _ACTION, _OBJECT, _CANONICAL = (
    SEALED_COLUMNS.index(name)
    for name in ("id", "occurred_at", "ledger_epoch", "txid", "action", "object_id", "details_canonical")
)
_NULL = b"\xff\xff\xff\xff"
_PREFIX = tuple(length.to_bytes(4, "big") for length in range(4096))
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

Values = list[bytes | None]
"""One record: canonical values in the order of COLUMNS."""


class Leaf(NamedTuple):
    """What the proof needs of a record.

    `fault` says what is wrong with the record in itself. Of the record of an archive, `witness` is the partition and
    the manifest's SHA-256 (see `manifest.witness_of`).
    """

    epoch: int
    txid: int
    id: str
    occurred_at: str
    hash: bytes
    fault: str | None
    witness: str | None = None


def fields_of_line(line: bytes) -> Values:
    """Read one line of COPY's text format, without its end: the values as PostgreSQL writes them, None for NULL."""
    return [
        field if b"\\" not in field else (None if field == b"\\N" else _unescaped(field)) for field in line.split(b"\t")
    ]


def values_of_line(line: bytes) -> Values:
    """Read a record from a line with the columns in the order of COLUMNS. Raises RecordUnreadable."""
    return values_of_fields(fields_of_line(line))


def values_of_fields(values: Values) -> Values:
    """Bring a record from PostgreSQL's form into the canonical one, in place. Raises RecordUnreadable."""
    if len(values) != len(COLUMNS):
        raise RecordUnreadable(f"a record has {len(values)} columns, not {len(COLUMNS)}")
    try:
        values[_OCCURRED_AT] = _utc(values[_OCCURRED_AT] or b"")
        values[_CANONICAL] = _octets(values[_CANONICAL])
    except ValueError as error:
        raise RecordUnreadable(f"record {(values[_ID] or b'').decode(errors='replace')}: {error}") from None
    return values


def json_of_values(values: Values) -> bytes:
    """Write a record as one JSON object; `details_canonical` in base64, since it is octets."""
    record: dict[str, object] = {
        name: None if value is None else value.decode()
        for name, value in zip(SEALED_COLUMNS, values, strict=False)
        if name != "details_canonical"
    }
    canonical, details = values[_CANONICAL], values[-1]
    record["details_canonical"] = None if canonical is None else base64.b64encode(canonical).decode()
    record["details"] = None if details is None else orjson.Fragment(details)
    return orjson.dumps(record)


def values_of_json(record: Mapping[str, Any]) -> Values:
    """Read what `json_of_values` writes. Raises RecordUnreadable."""
    try:
        values: Values = [None if record[name] is None else record[name].encode() for name in SEALED_COLUMNS]
        canonical = values[_CANONICAL]
        values[_CANONICAL] = None if canonical is None else base64.b64decode(canonical, validate=True)
        values.append(None if record["details"] is None else orjson.dumps(record["details"]))
    except (KeyError, AttributeError, ValueError) as error:
        raise RecordUnreadable(f"a record is not written as it should be: {error!r}") from None
    return values


def entry(values: Values) -> bytes:
    """The octets that the leaf is the hash of."""
    parts = []
    for value in values[:-1]:
        if value is None:
            parts.append(_NULL)
        else:
            length = len(value)
            parts.append(_PREFIX[length] if length < len(_PREFIX) else length.to_bytes(4, "big"))
            parts.append(value)
    return b"".join(parts)


def leaf_of(values: Values) -> Leaf:
    """Hash a record and check it in itself. Raises RecordUnreadable when its place cannot be read."""
    try:
        return Leaf(
            epoch=int(values[_EPOCH] or b""),
            txid=int(values[_TXID] or b""),
            id=(values[_ID] or b"").decode(),
            occurred_at=(values[_OCCURRED_AT] or b"").decode(),
            hash=leaf_hash(entry(values)),
            fault=None if _says_the_same(values[-1], values[_CANONICAL]) else "details are not details_canonical",
            witness=_witness(values) if values[_ACTION] == b"audit.archive" else None,
        )
    except ValueError as error:
        raise RecordUnreadable(f"a record has no readable place: {error}") from None


def _witness(values: Values) -> str | None:
    try:
        details = orjson.loads(values[_CANONICAL] or b"")
        return f"{(values[_OBJECT] or b'').decode()}/{details['manifest_sha256']}"
    except (ValueError, TypeError, KeyError):
        return None


def _says_the_same(details: bytes | None, canonical: bytes | None) -> bool:
    if details is None or canonical is None:
        return False
    try:
        parsed = orjson.loads(details)
        # Nearly always right, and fast; and never wrong when it agrees, since both are one JSON text then.
        if orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS) == canonical:
            return True
        return rfc8785.dumps(parsed) == canonical
    except (ValueError, rfc8785.CanonicalizationError):
        return False


def _utc(text: bytes) -> bytes:
    moment = datetime.fromisoformat(text.decode())
    if moment.tzinfo is not UTC:
        if moment.tzinfo is None:
            raise ValueError("occurred_at has no time zone")
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[:26].encode() + b"Z"


def _octets(text: bytes | None) -> bytes | None:
    if text is None:
        return None
    if not text.startswith(b"\\x"):
        raise ValueError("details_canonical is not in hexadecimal")
    return bytes.fromhex(text[2:].decode())


def _unescaped(field: bytes) -> bytes:
    if field.startswith(b"\\\\x") and field.count(b"\\") == 2:  # noqa: PLR2004 - a bytea and nothing else
        return field[1:]
    return _ESCAPE.sub(_meaning, field)


def _meaning(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    if escape in _ESCAPED:
        return _ESCAPED[escape]
    if escape.isdigit():
        return bytes([int(escape, 8) & 0xFF])
    if escape.startswith(b"x") and len(escape) > 1:
        return bytes([int(escape[1:], 16)])
    return escape
