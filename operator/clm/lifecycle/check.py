"""Compares the three worlds: clm_secure_db, which is the truth, with clm_core_db, the cluster and the token.

It reads everything and changes none of the worlds; what it finds in the token without an owner it writes down. Repair:
what is not published as recorded goes back into the outbox, and the controller publishes it again, without a new
certificate; a status that somebody has changed in the inventory is set back here, because no publication brings a
certificate back to life. Keys are never touched.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from clm.lifecycle.findings import Report
from clm.lifecycle.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.lifecycle.check_cluster import ClusterCheck
    from clm.lifecycle.check_databases import DatabaseCheck
    from clm.lifecycle.check_token import TokenCheck
    from clm.storage.core.survey import CoreSurvey
    from clm.storage.secure.survey import SecureSurvey

NO_PATIENCE = timedelta(0)


class Checker:
    """Compares all of them. What memory it needs grows by a few hundred octets a Certificate object."""

    def __init__(
        self,
        *,
        secure: SecureSurvey,
        core: CoreSurvey,
        databases: DatabaseCheck,
        cluster: ClusterCheck,
        token: TokenCheck,
    ) -> None:
        self._secure = secure
        self._core = core
        self._databases = databases
        self._cluster = cluster
        self._token = token

    async def check(
        self,
        *,
        open_keys: bool,
        patience: timedelta = NO_PATIENCE,
        pace: Pace | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Report:
        """Compare everything once.

        `open_keys` also unwraps every live private key and fits it to its certificate. `patience` is how long a
        Certificate may be on its way before it counts as not Ready. Raises an Unavailable when one of the worlds cannot
        be read.
        """
        report, pace = Report(), pace or Pace()
        progress("comparing the databases")
        await self._databases.compare(report, open_keys=open_keys, pace=pace)
        progress("comparing the cluster")
        await self._cluster.compare(report, patience=patience, pace=pace)
        progress("comparing the token")
        await self._token.compare(report, patience=patience)
        return report

    async def repair(self, report: Report) -> int:
        """Set back what was changed, and have the controller publish again what the findings name.

        Returns how many certificates that are.
        """
        await self._core.restore([finding.status for finding in report.findings if finding.status is not None])
        ids = sorted({finding.republish for finding in report.findings if finding.republish is not None})
        if ids:
            await self._secure.republish(ids)
        return len(ids)
