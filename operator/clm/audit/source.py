"""Where a log is read from for its proof: a database here; a dump in `dump.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from clm.audit.leaf import Leaf, leaf_of, values_of_line
from clm.resources.seals import DATABASES

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Mapping, Sequence

    from clm.resources.seals import ArchiveRow, SealRow
    from clm.storage.ledger import Ledger


class Source(Protocol):
    """One log."""

    @property
    def database(self) -> str:
        """Name of its database."""

    def seals(self) -> Iterator[SealRow]:
        """Every seal in order of batches."""

    def leaves(self) -> Iterator[Leaf]:
        """Every record in order of epoch, txid and id."""

    def archives(self) -> Sequence[ArchiveRow]:
        """Every archive on record."""

    def keys(self) -> Mapping[uuid.UUID, bytes]:
        """The public keys that the source itself names: not to be trusted for that."""

    def epoch(self) -> int:
        """Epoch that records are written with."""

    def next_xid(self) -> int | None:
        """The first transaction id that had not begun when it was read; None where the source does not tell."""


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """The log in a database."""

    ledger: Ledger

    @property
    def database(self) -> str:
        """Name of its database."""
        return DATABASES[self.ledger.ledger]

    def seals(self) -> Iterator[SealRow]:
        """Every seal in order of batches."""
        return self.ledger.seals()

    def leaves(self) -> Iterator[Leaf]:
        """Every record in order of epoch, txid and id."""
        return (leaf_of(values_of_line(line)) for line in self.ledger.lines())

    def archives(self) -> Sequence[ArchiveRow]:
        """Every archive on record."""
        return self.ledger.archives()

    def keys(self) -> Mapping[uuid.UUID, bytes]:
        """The public keys that the database itself names."""
        return self.ledger.keys()

    def epoch(self) -> int:
        """Epoch that records are written with."""
        return self.ledger.epoch()

    def next_xid(self) -> int:
        """The first transaction id that has not begun."""
        return self.ledger.next_xid()
