"""One comparison of the worlds from start to stored report, for whoever asks: the schedule or a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clm.lifecycle.check import NO_PATIENCE
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from uuid import UUID

    from clm.lifecycle.check import Checker
    from clm.lifecycle.findings import Finding, Report
    from clm.lifecycle.key_acts import Actor
    from clm.lifecycle.pace import Pace
    from clm.storage.core.reports import ReportStore
    from clm.storage.records import RecordStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """Compares and keeps the report."""

    checker: Checker
    reports: ReportStore
    records: RecordStore
    cluster_id: UUID

    async def run(
        self,
        *,
        open_keys: bool,
        patience: timedelta = NO_PATIENCE,
        pace: Pace | None = None,
        progress: Callable[[str], None] = lambda _: None,
        actor: Actor | None = None,
    ) -> Report:
        """Compare everything once, and store and record what was found; see `Checker.check`.

        `actor` is the person who asked; None is the schedule.
        """
        started_at = datetime.now(UTC)
        report = await self.checker.check(open_keys=open_keys, patience=patience, pace=pace, progress=progress)
        await self.reports.put(
            started_at=started_at,
            opened_keys=open_keys,
            compared=report.compared,
            finding_count=report.total,
            findings=[as_json(finding) for finding in report.findings],
        )
        await self.records.record(self._record(report, actor, opened_keys=open_keys))
        return report

    def _record(self, report: Report, actor: Actor | None, *, opened_keys: bool) -> AuditRecord:
        details = {"compared": report.compared, "findings": report.total, "openedKeys": opened_keys}
        return AuditRecord(
            organization_id=SYSTEM_ORGANIZATION,
            action="integrity.check",
            object_type="cluster",
            object_id=str(self.cluster_id),
            actor_type="operator" if actor is None else "user",
            actor_id="clm-controller" if actor is None else actor.id,
            details={**details, **(actor.details if actor is not None else {})},
        )


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding as reports and `clm check -o json` have it."""
    return {
        "world": finding.world,
        "kind": finding.kind,
        "object": finding.object,
        "problem": finding.problem,
        "repairable": finding.republish is not None,
    }
