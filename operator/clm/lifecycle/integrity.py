"""One comparison of the worlds from start to stored report, for whoever asks: the schedule or a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from clm.lifecycle.check import NO_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from clm.lifecycle.check import Checker
    from clm.lifecycle.findings import Finding, Report
    from clm.lifecycle.pace import Pace
    from clm.storage.core.reports import ReportStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """Compares and keeps the report."""

    checker: Checker
    reports: ReportStore

    async def run(
        self,
        *,
        open_keys: bool,
        patience: timedelta = NO_PATIENCE,
        pace: Pace | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Report:
        """Compare everything once and store what was found; see `Checker.check`."""
        started_at = datetime.now(UTC)
        report = await self.checker.check(open_keys=open_keys, patience=patience, pace=pace, progress=progress)
        await self.reports.put(
            started_at=started_at,
            opened_keys=open_keys,
            compared=report.compared,
            finding_count=report.total,
            findings=[as_json(finding) for finding in report.findings],
        )
        return report


def as_json(finding: Finding) -> dict[str, Any]:
    """A finding as reports and `clm check -o json` have it."""
    return {
        "world": finding.world,
        "kind": finding.kind,
        "object": finding.object,
        "problem": finding.problem,
        "repairable": finding.republish is not None,
    }
