"""What the controller does as a process, on the record: it starts, it stops, the token refuses its PIN."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Literal

from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clm.resources.audit import Action
    from clm.storage.records import RecordStore

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_STOP_S = 2.0


class ControllerActs:
    """Records the process's own acts in clm_secure_db."""

    def __init__(self, records: RecordStore, *, token: str, rejected_logins: Callable[[], int]) -> None:
        self._records = records
        self._token = token
        self._rejected_logins = rejected_logins
        self._recorded_logins = 0
        self._started = False

    async def started(self) -> None:
        """Record that the controller serves. Raises DatabaseUnavailable."""
        await self._record("controller.start", "controller", "clm-controller")
        self._started = True

    async def stopped(self) -> None:
        """Record that it ends, if it has started; an outage does not hold it up."""
        if not self._started:
            return
        try:
            async with asyncio.timeout(_STOP_S):
                await self._record("controller.stop", "controller", "clm-controller")
        except (ClmError, TimeoutError) as error:
            logger.warning("that the controller ends could not be recorded: %s", error)

    async def watch_logins(self) -> None:
        """Record every PIN that the token refuses, at the start as later, until cancelled."""
        what = "a refused PIN is recorded"
        await look_again_and_again(self._look_at_logins, interval_s=_LOOK_EVERY_S, what=what, logger=logger)

    async def _look_at_logins(self) -> None:
        rejected = self._rejected_logins()
        if rejected > self._recorded_logins:
            await self._record("hsm.login", "token", self._token, outcome="failure", details={"rejected": rejected})
            self._recorded_logins = rejected

    async def _record(
        self,
        action: Action,
        object_type: str,
        object_id: str,
        *,
        outcome: Literal["success", "failure"] = "success",
        details: Mapping[str, object] | None = None,
    ) -> None:
        await self._records.record(
            AuditRecord(
                organization_id=SYSTEM_ORGANIZATION,
                action=action,
                object_type=object_type,
                object_id=object_id,
                outcome=outcome,
                details=details or {},
            )
        )
