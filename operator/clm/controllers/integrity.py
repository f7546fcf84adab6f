"""The comparison of the worlds as a scheduled job, and what it tells as metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError
from clm.lifecycle.pace import Pace

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from clm.lifecycle.findings import Report
    from clm.lifecycle.integrity import Integrity
    from clm.storage.secure.survey import SecureSurvey

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=60)
"""How long a Certificate may be on its way before the schedule calls it not Ready."""

_REST_RATIO = 1.0
"""At most half of the time is worked: whoever waits for a certificate comes first."""

_RETRY_S = 60.0
_OUTBOX_EVERY_S = 15.0
_LOGGED = 20


class IntegrityMetrics:
    """What the comparisons found. No series an object."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._findings = Gauge(
            "clm_integrity_findings",
            "Things that are not as recorded, by the last comparison",
            ["world", "kind"],
            registry=registry,
        )
        self._dangling = Gauge(
            "clm_integrity_dangling_references",
            "Ids of one database that the other does not have, by the side that refers",
            ["side"],
            registry=registry,
        )
        self._runs = Counter("clm_integrity_runs", "Comparisons by outcome", ["result"], registry=registry)
        self._seconds = Gauge("clm_integrity_seconds", "Time that the last comparison took", registry=registry)
        self._outbox = Gauge("clm_outbox_rows", "Certificates that wait to be published", registry=registry)
        self._oldest = Gauge("clm_outbox_oldest_seconds", "Time that the oldest of them has waited", registry=registry)
        # Counted from the start of the process: an alert on it also sees a schedule that never ran.
        self._last = time.monotonic()
        age = Gauge("clm_integrity_age_seconds", "Time since the last comparison or the start", registry=registry)
        age.set_function(lambda: time.monotonic() - self._last)

    def compared(self, report: Report, *, seconds: float) -> None:
        """Publish what a comparison found."""
        self._findings.clear()
        for (world, kind), number in report.counts.items():
            self._findings.labels(world, kind).set(number)
        for side in ("secure", "core"):
            self._dangling.labels(side).set(report.dangling[side])
        self._runs.labels("done").inc()
        self._seconds.set(seconds)
        self._last = time.monotonic()

    def failed(self) -> None:
        """Count a comparison that could not be made."""
        self._runs.labels("failed").inc()

    def outbox(self, waiting: int, oldest_s: float) -> None:
        """Publish how much waits to be published."""
        self._outbox.set(waiting)
        self._oldest.set(oldest_s)


class IntegrityController:
    """Compares now and then, and looks at the outbox all the time."""

    def __init__(self, *, integrity: Integrity, survey: SecureSurvey, metrics: IntegrityMetrics) -> None:
        self._integrity = integrity
        self._survey = survey
        self._metrics = metrics

    async def run(self, *, first_s: float, interval_s: float) -> None:
        """Compare, first after `first_s` and then every `interval_s`, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_outbox())
            await asyncio.sleep(first_s)
            while True:
                done = await self.compare()
                await asyncio.sleep(interval_s if done else min(_RETRY_S, interval_s))

    async def compare(self) -> bool:
        """Compare once; False when one of the worlds could not be read."""
        began = time.monotonic()
        try:
            report = await self._integrity.run(open_keys=False, patience=PATIENCE, pace=Pace(_REST_RATIO))
        except ClmError as error:
            logger.warning("the comparison of the worlds is tried again: %s", error)
            self._metrics.failed()
            return False
        except Exception:
            logger.exception("a defect in CLM: the comparison of the worlds is tried again")
            self._metrics.failed()
            return False
        self._metrics.compared(report, seconds=time.monotonic() - began)
        for finding in report.findings[:_LOGGED]:
            logger.warning("not as recorded: %s: %s: %s", finding.world, finding.object, finding.problem)
        if report.total > _LOGGED:
            logger.warning("not as recorded: %d more; see `clm check --last`", report.total - _LOGGED)
        return True

    async def _watch_outbox(self) -> None:
        what, level = "the outbox is looked at", logging.DEBUG
        await look_again_and_again(
            self._look_at_outbox, interval_s=_OUTBOX_EVERY_S, what=what, logger=logger, level=level
        )

    async def _look_at_outbox(self) -> None:
        self._metrics.outbox(*await self._survey.outbox())
