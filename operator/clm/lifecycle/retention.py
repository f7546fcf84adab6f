"""What is kept for how long, and the periodic act that lets it go: in small batches, each on the record.

Certificates are never deleted: they are the record. What goes is their private keys, once the certificates have ended
for long enough, and what is around them. Months of the audit log go by `clm audit archive` alone, after the archive was
verified; here they are only named.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from clm.lifecycle.pace import Pace
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.retention import RULES
from clm.storage.secure.destruction import KeyCutoffs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clm.lifecycle.boundaries import Boundary
    from clm.settings import Settings
    from clm.storage.migration_files import DatabaseName
    from clm.storage.retention import RetentionStore, RowRule, RuleName
    from clm.storage.secure.destruction import PrivateKeyDestruction

BATCH = 500
_NIL = uuid.UUID(int=0)
_KEYS_SAY = "private keys of certificates that are superseded, revoked or expired: destroyed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPeriods:
    """How long each kind is kept after its end."""

    audit: timedelta
    rows: Mapping[RuleName, timedelta]
    superseded_keys: timedelta
    revoked_keys: timedelta
    expired_keys: timedelta

    @classmethod
    def of(cls, settings: Settings) -> RetentionPeriods:
        """Periods that the installation has chosen."""

        def days(number: int) -> timedelta:
            return timedelta(days=number)

        return cls(
            audit=days(settings.retention_audit_days),
            rows={
                "failed-requests": days(settings.retention_refused_days),
                "refused-approvals": days(settings.retention_refused_days),
                "notifications": days(settings.retention_notifications_days),
                "sessions": days(settings.retention_sessions_days),
                "reports": days(settings.retention_reports_days),
            },
            superseded_keys=days(settings.retention_superseded_keys_days),
            revoked_keys=days(settings.retention_revoked_keys_days),
            expired_keys=days(settings.retention_expired_keys_days),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What one rule would let go, or has let go."""

    rule: str
    database: DatabaseName
    table: str
    says: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month of an audit log that is past its retention. It may go when it is archived."""

    database: DatabaseName
    partition: str
    archived: bool


class Retention:
    """Carries out the rules. `boundary` is for the crash tests."""

    def __init__(
        self,
        *,
        periods: RetentionPeriods,
        stores: Sequence[RetentionStore],
        keys: PrivateKeyDestruction,
        boundary: Boundary,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._periods = periods
        self._stores = {store.name: store for store in stores}
        self._keys = keys
        self._boundary = boundary
        self._clock = clock

    async def due(self) -> list[Due]:
        """List what the rules would let go now, and change nothing."""
        counted = [
            _due(rule, await self._stores[rule.database].due(rule, self._before(self._periods.rows[rule.name])))
            for rule in RULES
        ]
        return [*counted, _keys_due(await self._keys.due(self._cutoffs()))]

    async def months(self) -> list[Month]:
        """List the months of the audit logs that are past their retention."""
        before = self._before(self._periods.audit)
        return [
            Month(database=name, partition=partition, archived=archived)
            for name, store in self._stores.items()
            for partition, archived in await store.months(before)
        ]

    async def apply(self, *, pace: Pace | None = None) -> list[Due]:
        """Let go what is due; returns what went. Each batch stands by itself: a crash loses nothing."""
        pace = pace or Pace()
        done = [_due(rule, await self._apply_rule(rule, pace)) for rule in RULES]
        return [*done, _keys_due(await self._destroy_keys(pace))]

    async def _apply_rule(self, rule: RowRule, pace: Pace) -> int:
        store, before, total = self._stores[rule.database], self._before(self._periods.rows[rule.name]), 0
        audit = AuditRecord(
            organization_id=SYSTEM_ORGANIZATION,
            action="retention.apply",
            object_type=rule.table,
            object_id=rule.name,
            actor_type="system",
            reason=rule.says,
            details={"before": before.isoformat(), "atMost": BATCH},
        )
        while went := await store.apply_batch(rule, before, limit=BATCH, audit=audit):
            total += went
            self._boundary("retention.batch-done")
            await pace.rest()
        return total

    async def _destroy_keys(self, pace: Pace) -> int:
        cutoffs, total = self._cutoffs(), 0
        after: uuid.UUID | None = _NIL
        while after is not None:
            batch = await self._keys.destroy_batch(cutoffs, after=after, limit=BATCH, reason=_KEYS_SAY)
            total, after = total + batch.destroyed, batch.after
            self._boundary("retention.batch-done")
            await pace.rest()
        return total

    def _before(self, period: timedelta) -> datetime:
        return self._clock() - period

    def _cutoffs(self) -> KeyCutoffs:
        return KeyCutoffs(
            superseded_before=self._before(self._periods.superseded_keys),
            revoked_before=self._before(self._periods.revoked_keys),
            expired_before=self._before(self._periods.expired_keys),
        )


def _due(rule: RowRule, count: int) -> Due:
    return Due(rule=rule.name, database=rule.database, table=rule.table, says=rule.says, count=count)


def _keys_due(count: int) -> Due:
    return Due(rule="private-keys", database="secure", table="private_keys", says=_KEYS_SAY, count=count)
