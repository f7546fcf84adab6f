"""Compares revocations: clm_secure_db in itself, and with clm_status in clm_core_db, by which OCSP answers.

What is recorded and not announced is announced again by the relay. What is announced and not recorded stays: no repair
has a certificate count as good again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.lifecycle.findings import Finding
from clm.lifecycle.walk import chunks, side_by_side

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    from clm.lifecycle.findings import Report
    from clm.lifecycle.pace import Pace
    from clm.resources.revocation import RevocationMark
    from clm.storage.core.survey import CoreSurvey
    from clm.storage.secure.survey import SecureSurvey


class RevocationCheck:
    """Compares the revocations of unexpired certificates."""

    def __init__(self, *, secure: SecureSurvey, core: CoreSurvey) -> None:
        self._secure = secure
        self._core = core

    async def compare(self, report: Report, *, pace: Pace) -> None:
        """Walk through both, and look at what differs again."""
        for request in await self._secure.half_revoked():
            name = f"{request.namespace}/{request.name} revision {request.revision}"
            report.add(
                Finding("secure", "revocation-half", name, "is revoked by its state or by a revocation, not both")
            )
        doubtful: list[uuid.UUID] = []
        async for recorded, told in side_by_side(
            self._secure.revocations(), self._core.revocations(), pace, order=_order
        ):
            report.count("revocations")
            either = recorded or told
            if either is not None and (recorded is None or told is None or recorded.reason_code != told.reason_code):
                doubtful.append(either.certificate_id)
        for ids in chunks(doubtful):
            await self._look_again(report, ids)
            await pace.rest()

    async def _look_again(self, report: Report, ids: Sequence[uuid.UUID]) -> None:
        recorded, on_their_way = await self._secure.revocations_of(ids), await self._secure.on_their_way(ids)
        told = await self._core.revocations_of(ids)
        for certificate_id in ids:
            if certificate_id in on_their_way:
                report.count("revocations on their way")
                continue
            finding = _difference(recorded.get(certificate_id), told.get(certificate_id))
            if finding is not None:
                report.add(finding)


def _difference(recorded: RevocationMark | None, told: RevocationMark | None) -> Finding | None:
    if recorded is None:
        if told is None:
            return None
        problem = "counts as revoked for OCSP, and no revocation of it is recorded"
        return Finding("core", "revocation-unknown", _named(told), problem)
    if told is None:
        if recorded.is_expired:
            return None  # who answers for it may have forgotten it
        problem = "is revoked, and OCSP does not know"
        return Finding("core", "revocation-missing", _named(recorded), problem, recorded.certificate_id)
    if recorded.reason_code == told.reason_code:
        return None
    problem = f"is revoked for reason {recorded.reason_code}, and OCSP says {told.reason_code}"
    return Finding("core", "revocation-missing", _named(recorded), problem, recorded.certificate_id)


def _order(mark: RevocationMark) -> tuple[uuid.UUID, bytes]:
    return mark.issuer_key_id, mark.serial_number


def _named(mark: RevocationMark) -> str:
    return f"serial number {mark.serial_number.hex(':')}"
