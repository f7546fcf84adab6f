"""The procedure that revokes, over the real databases."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.rows import dict_row

from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.check_revocations import RevocationCheck
from clm.lifecycle.findings import Report
from clm.lifecycle.pace import Pace
from clm.lifecycle.revoke import Revoker
from clm.resources.revocation import Revocation
from clm.storage.core.metadata import MetadataStore
from clm.storage.core.revocations import AnnouncementStore
from clm.storage.core.survey import CoreSurvey
from clm.storage.database import Database
from clm.storage.secure.revocations import RevocationStore
from clm.storage.secure.survey import SecureSurvey

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.findings import Finding
    from clm.resources.records import Owner
    from clm.resources.revocation import Recorded, RevocationReason
    from tests.integration.issuance.workshop import Workshop

_AUDIT = {"origin": "test", "version": "0"}


def revoker_over(shop: Workshop, core: Database, boundary: Boundary = no_boundary) -> Revoker:
    """Make the procedure, with a boundary of its own."""
    return Revoker(
        store=RevocationStore(shop.database, **_AUDIT),
        announcements=AnnouncementStore(core, **_AUDIT),
        metadata=MetadataStore(core, **_AUDIT),
        history=shop.history,
        outbox=shop.outbox,
        boundary=boundary,
    )


@dataclass(slots=True)
class Desk:
    """Where certificates of a workshop are revoked."""

    shop: Workshop
    core: Database
    store: RevocationStore

    def revoker(self, boundary: Boundary = no_boundary) -> Revoker:
        """Make the procedure."""
        return revoker_over(self.shop, self.core, boundary)

    async def revoke(
        self, owner: Owner, reason: RevocationReason, boundary: Boundary = no_boundary, **more: Any
    ) -> list[Recorded]:
        """Revoke all that an object has, and announce it."""
        revoker = self.revoker(boundary)
        recorded = await revoker.record(await self.store.of_object(owner), Revocation(reason=reason, **more))
        await revoker.announce(recorded)
        return recorded

    async def told(self) -> dict[uuid.UUID, tuple[int, str]]:
        """Read what clm_core_db says: the reason's code by which OCSP answers, and the status in the inventory."""
        statement = """
            SELECT r.certificate_id, r.reason_code, m.status FROM clm_status.revocations r
            JOIN certificate_metadata m ON m.id = r.certificate_id
        """
        async with self.core.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement)
            return {row["certificate_id"]: (row["reason_code"], row["status"]) for row in await cursor.fetchall()}

    async def compare(self) -> list[Finding]:
        """Compare the revocations of both databases, as `clm check` does."""
        secure = SecureSurvey(self.shop.database, cluster_id=self.shop.cluster_id)
        core = CoreSurvey(self.core, cluster_id=self.shop.cluster_id)
        report = Report()
        await RevocationCheck(secure=secure, core=core).compare(report, pace=Pace())
        return report.findings

    async def core_query(self, statement: str, *parameters: object) -> None:
        """Run one statement in clm_core_db."""
        async with self.core.connection() as connection:
            await connection.execute(statement.encode(), parameters)

    async def core_rows(self) -> list[tuple[Any, ...]]:
        """Read everything that an announcement writes."""
        async with self.core.connection() as connection:
            cursor = await connection.execute(
                "SELECT r.recorded_at, m.updated_at, (SELECT count(*) FROM audit_log)"
                " FROM clm_status.revocations r JOIN certificate_metadata m ON m.id = r.certificate_id"
            )
            return await cursor.fetchall()


@asynccontextmanager
async def open_desk(shop: Workshop, core_dsn: str) -> AsyncIterator[Desk]:
    """Open clm_core_db beside a workshop."""
    core = Database(core_dsn, name="clm_core_db", connections=2)
    await core.start()
    try:
        yield Desk(shop, core, RevocationStore(shop.database, **_AUDIT))
    finally:
        await core.close()
