"""Seals and archives of the audit logs as the databases hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping
    from datetime import date, datetime

LedgerName = Literal["secure", "core"]

LEDGERS: tuple[LedgerName, ...] = ("secure", "core")
TABLES: Mapping[LedgerName, str] = {"secure": "secure_audit_log", "core": "audit_log"}
DATABASES: Mapping[LedgerName, str] = {"secure": "clm_secure_db", "core": "clm_core_db"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRow:
    """One row of clm_audit.seals. `leaves` are the hashes of its records, one after the other."""

    batch: int
    epoch: int
    from_xid: int
    to_xid: int
    records: int
    total: int
    root: bytes
    previous: bytes
    sealed_at: datetime
    key_id: uuid.UUID
    note: str
    leaves: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRow:
    """One row of clm_audit.archives."""

    month: date
    partition: str
    records: int
    key_id: uuid.UUID
    manifest: str
    location: str


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that was made for seals, whatever became of it since: its public key (SPKI, DER)."""

    spki: bytes
    compromised: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The records of `epoch` with from_xid <= txid < to_xid."""

    epoch: int
    from_xid: int
    to_xid: int
