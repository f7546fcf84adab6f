"""The revocations of one CA in memory, each as the entry that CRLs list: what a new CRL is joined from.

They are read once, page by page; after that only what is new is. About 300 octets each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.pki.crl import RevokedEntry, encode_entries
from clm.pki.serial import serial_from_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from clm.pki.tbs import ThrowawayKeys
    from clm.storage.secure.revoked import RevokedRow

Part = tuple[int, int]
"""One CRL of a CA: the number of partitions, and which of them. The complete CRL is (1, 0)."""


class RevokedEntries:
    """Entries by serial number. `numbers` are those of the CRLs as of which they are complete."""

    __slots__ = ("_entries", "numbers")

    def __init__(self) -> None:
        self._entries: dict[int, tuple[bytes, float]] = {}
        self.numbers: dict[Part, int] = {}

    def __len__(self) -> int:
        """How many certificates are listed."""
        return len(self._entries)

    def put(self, rows: Sequence[RevokedRow], *, throwaway: ThrowawayKeys) -> None:
        """Take in revocations; one that is known is replaced, since its reason may have changed. Takes 10 us each."""
        entries = [
            RevokedEntry(serial_from_bytes(row.serial_number), row.revoked_at, row.reason_code, row.invalidity_date)
            for row in rows
        ]
        for entry, row, encoded in zip(entries, rows, encode_entries(entries, throwaway=throwaway), strict=True):
            self._entries[entry.serial] = (encoded, row.not_after.timestamp())

    def listed(self, part: Part, *, previous: datetime | None) -> list[bytes]:
        """Entries of one CRL, where the one before it was of the time `previous`.

        An entry leaves once it was in a CRL that is later than the end of its certificate (RFC 5280 3.3).
        """
        shards, shard = part
        left = previous.timestamp() if previous is not None else float("-inf")
        if shards == 1:
            return [encoded for encoded, not_after in self._entries.values() if not_after >= left]
        return [
            encoded
            for serial, (encoded, not_after) in self._entries.items()
            if serial % shards == shard and not_after >= left
        ]

    def forget(self, before: datetime) -> None:
        """Forget the entries of certificates that expired before a time: that of the oldest CRL that stands."""
        moment = before.timestamp()
        self._entries = {serial: entry for serial, entry in self._entries.items() if entry[1] >= moment}
