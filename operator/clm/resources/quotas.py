"""The token bucket of a Policy's quota: how many issuances a namespace has left, and when it has the next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import uuid

_HOUR = timedelta(hours=1)


class Quota(NamedTuple):
    """What one issuance takes a token of, at a moment by the operator's clock.

    `may_overdraw`: it is made even where none is left, and others wait for longer.
    """

    policy_uid: uuid.UUID
    namespace: str
    per_hour: int
    may_overdraw: bool
    at: datetime


class Bucket(NamedTuple):
    """Tokens that were left when it was last filled. It holds an hour's, and owes an hour's at most."""

    tokens: float
    refilled_at: datetime

    def refilled(self, per_hour: int, at: datetime) -> Bucket:
        """The bucket as it is at `at`: an hour's tokens come evenly within an hour."""
        passed = max(at - self.refilled_at, timedelta())
        tokens = min(self.tokens + per_hour * (passed / _HOUR), float(per_hour))
        return Bucket(tokens, max(at, self.refilled_at))

    def spent(self, per_hour: int) -> Bucket:
        """The bucket with one token less."""
        return self._replace(tokens=max(self.tokens - 1, -float(per_hour)))

    def has_one(self) -> bool:
        """Whether a token is left; what rounding has taken of it does not count."""
        return self.tokens >= 1 - 1e-6

    def next_at(self, per_hour: int, *, before: int = 0) -> datetime | None:
        """When it has one, with so many others served before; None where it never has."""
        if per_hour == 0:
            return None
        return self.refilled_at + max((1 + before - self.tokens) / per_hour, 0.0) * _HOUR
