"""The daily round through the data: what is past its retention goes, and whoever was erased stays erased.

And the metric that tells, long before it happens, that the audit logs run out of months.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError
from clm.lifecycle.pace import Pace
from clm.storage.partitions import months_ahead

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from prometheus_client import CollectorRegistry

    from clm.lifecycle.erasure import Eraser
    from clm.lifecycle.retention import Retention
    from clm.storage.database import Database
    from clm.storage.migration_files import DatabaseName

logger = logging.getLogger(__name__)

_REST_RATIO = 1.0
_RETRY_S = 300.0
_MONTHS_EVERY_S = 300.0


class UpkeepController:
    """Makes the round, and counts what went."""

    def __init__(
        self,
        *,
        retention: Retention,
        eraser: Eraser,
        databases: Mapping[DatabaseName, Database],
        registry: CollectorRegistry,
    ) -> None:
        self._retention = retention
        self._eraser = eraser
        self._databases = databases
        self._gone = Counter("clm_retention_rows", "Rows let go, by rule", ["rule"], registry=registry)
        self._months = Gauge(
            "clm_audit_partitions_ahead",
            "Whole months after this one for which the audit log has partitions; fewer than 3 is an alarm",
            ["database"],
            registry=registry,
        )

    async def run(self, *, first_s: float, interval_s: float) -> None:
        """Make the round, first after `first_s` and then every `interval_s`, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._databases:
                group.create_task(self._watch_months(name))
            await asyncio.sleep(first_s)
            while True:
                complete = await self._part("erasures are replayed", self._replay)
                complete &= await self._part("what is past its retention goes", self._apply)
                await asyncio.sleep(interval_s if complete else min(_RETRY_S, interval_s))

    async def _replay(self) -> None:
        replayed = await self._eraser.replay()
        for subject_id in replayed.erased:
            logger.info("user %s, who was erased, had come back and was erased again", subject_id)
        for subject_id in replayed.refused:
            logger.error("user %s was erased, has come back and is under legal hold", subject_id)

    async def _apply(self) -> None:
        for went in await self._retention.apply(pace=Pace(_REST_RATIO)):
            if went.count:
                self._gone.labels(went.rule).inc(went.count)
                logger.info("past their retention: %d %s", went.count, went.says)

    async def _part(self, what: str, act: Callable[[], Awaitable[None]]) -> bool:
        try:
            await act()
        except ClmError as error:
            logger.warning("%s later: %s", what, error)
            return False
        except Exception:
            # A rule that one row breaks must not end the process, nor keep the other parts from their work.
            logger.exception("a defect in CLM: %s later", what)
            return False
        return True

    async def _watch_months(self, name: DatabaseName) -> None:
        what, level = "the months of the audit log are counted", logging.DEBUG
        look = partial(self._count_months, name)
        await look_again_and_again(look, interval_s=_MONTHS_EVERY_S, what=what, logger=logger, level=level)

    async def _count_months(self, name: DatabaseName) -> None:
        async with self._databases[name].connection() as connection:
            self._months.labels(name).set(await months_ahead(connection, name))
