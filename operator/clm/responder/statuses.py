"""Statuses of certificates in memory: what was read, corrected by every revocation that is heard of afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.pki.ocsp_response import Revocation

if TYPE_CHECKING:
    from clm.storage.core.certificate_status import RecordedStatus, SerialKey


@dataclass(frozen=True, slots=True, eq=False)
class Status:
    """Status of one certificate, and when it was read (seconds since the epoch). Good, unless it is revoked.

    Compared by identity: an answer made from it holds as long as it is the one in the book.
    """

    revocation: Revocation | None
    read_at: float


class StatusBook:
    """At most `limit` statuses; the ones read longest ago go first. Times are seconds since the epoch.

    `heard_at` is the last time up to which every revocation has been heard of: a good status that stands in the book is
    known to have been good then. `news` counts what was heard: what was read while it rose is read again.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._statuses: dict[SerialKey, Status] = {}
        self.heard_at = 0.0
        self.news = 0

    def __len__(self) -> int:
        """Count the statuses."""
        return len(self._statuses)

    def get(self, key: SerialKey) -> Status | None:
        """Find a status."""
        return self._statuses.get(key)

    def put(self, key: SerialKey, recorded: RecordedStatus | None, *, read_at: float) -> Status | None:
        """Note what was read; None: the certificate is not known (any more). Gives what stands in the book then."""
        self._statuses.pop(key, None)
        if recorded is None:
            return None
        status = Status(_revocation(recorded), read_at)
        self._statuses[key] = status
        while len(self._statuses) > self._limit:
            del self._statuses[next(iter(self._statuses))]
        return status

    def hear(self, key: SerialKey, recorded: RecordedStatus, *, now: float) -> bool:
        """Take note of a revocation; tell whether the book said otherwise. Heard of again, it changes nothing."""
        self.news += 1
        known = self._statuses.get(key)
        if known is None or known.revocation == _revocation(recorded):
            return False
        self.put(key, recorded, read_at=now)
        return True

    def forget_all(self) -> None:
        """Forget every status: what was heard of is not to be relied on."""
        self._statuses.clear()


def _revocation(recorded: RecordedStatus) -> Revocation | None:
    if recorded.revoked_at is None or recorded.reason is None:
        return None
    return Revocation(recorded.revoked_at, recorded.reason)
