"""Compares clm_secure_db in itself and with clm_core_db: both sides of every reference that goes across.

Both inventories are read in order of id, side by side, so that memory does not grow with them. What differs is read
again at the end: the two are written one after the other, and a live system is always between two writes somewhere.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from clm.errors import ClmError
from clm.lifecycle.check_revocations import RevocationCheck
from clm.lifecycle.findings import Finding
from clm.lifecycle.walk import chunks, side_by_side
from clm.pki import keys as pki_keys
from clm.pki.chain import certificate_facts
from clm.storage.core.survey import WrongStatus

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from clm.lifecycle.findings import Report
    from clm.lifecycle.pace import Pace
    from clm.lifecycle.request import RequestBuilder
    from clm.storage.core.survey import CoreSurvey, SurveyedRow
    from clm.storage.secure.survey import SecureSurvey, SurveyedCertificate, UnfinishedRequest

_LATE_S = 60.0
"""Far past any publication."""


class DatabaseCheck:
    """Compares the two databases."""

    def __init__(self, *, secure: SecureSurvey, core: CoreSurvey, requests: RequestBuilder) -> None:
        self._secure = secure
        self._core = core
        self._requests = requests
        self._revocations = RevocationCheck(secure=secure, core=core)

    async def compare(self, report: Report, *, open_keys: bool, pace: Pace) -> None:
        """Look at what is unfinished, walk through both inventories, and follow the other references."""
        await self._unfinished(report)
        doubtful: list[uuid.UUID] = []
        async for certificate, row in side_by_side(self._secure.certificates(), self._core.rows(), pace, order=_id):
            if certificate is not None:
                report.count("certificates")
                if open_keys and _should_open(certificate):
                    await self._open_key(report, certificate)
            if row is not None:
                report.count("inventory rows")
            either = certificate or row
            if either is not None and next(_differences(certificate, row), None) is not None:
                doubtful.append(either.id)
        for ids in chunks(doubtful):
            await self._look_again(report, ids)
            await pace.rest()
        await self._revocations.compare(report, pace=pace)
        await self._references(report)

    async def _unfinished(self, report: Report) -> None:
        for request in await self._secure.pending():
            problem = f"intent of revision {request.revision} waits to be signed"
            report.add(Finding("secure", "intent-unsigned", named(request), problem))
        for request in await self._secure.unrecorded():
            problem = f"revision {request.revision} has no certificate"
            report.add(Finding("secure", "not-recorded", named(request), problem))
        waiting, oldest_s = await self._secure.outbox()
        if waiting and oldest_s > _LATE_S:
            problem = f"{waiting} certificates wait to be published, the oldest for {oldest_s:.0f} s"
            report.add(Finding("secure", "outbox-late", "outbox", problem))

    async def _open_key(self, report: Report, certificate: SurveyedCertificate) -> None:
        assert certificate.private_key_id is not None  # noqa: S101 - see _should_open
        try:
            key = await self._requests.open_key(certificate.private_key_id)
        except ClmError as error:
            # Between the page and this moment it may have been replaced, and its key destroyed.
            now = (await self._secure.some([certificate.id])).get(certificate.id)
            if now is None or not _should_open(now):
                return
            problem = f"its private key does not open: {error}"
            report.add(Finding("secure", "key-unopened", named(certificate), problem))
            return
        report.count("private keys opened")
        facts = certificate_facts(await self._secure.octets(certificate.id))
        if hashlib.sha256(pki_keys.spki_der(key.public_key())).digest() != facts.spki_sha256:
            problem = "its private key is not its certificate's"
            report.add(Finding("secure", "key-unopened", named(certificate), problem))

    async def _look_again(self, report: Report, ids: Sequence[uuid.UUID]) -> None:
        recorded, on_their_way = await self._secure.some(ids), await self._secure.on_their_way(ids)
        listed = await self._core.some(ids)
        for certificate_id in ids:
            certificate, row = recorded.get(certificate_id), listed.get(certificate_id)
            for finding in _differences(certificate, row):
                if certificate_id in on_their_way:
                    report.count("certificates on their way")
                    break
                report.add(finding)
                if finding.kind == "inventory-missing":
                    report.dangling["secure"] += 1
                elif finding.kind == "reference-dangling":
                    report.dangling["core"] += 1

    async def _references(self, report: Report) -> None:
        keys = await self._core.keys()
        report.count("references", len(keys))
        for key_id in await self._secure.unknown_keys(keys):
            problem = "is referred to as a key, and clm_secure_db has none of that id"
            report.add(Finding("core", "reference-dangling", str(key_id), problem))
            report.dangling["core"] += 1
        approvals = await self._secure.approvals()
        report.count("references", len(approvals))
        for instance_id in await self._core.unknown_approvals(approvals):
            problem = "is referred to as an approval, and clm_core_db has none of that id"
            report.add(Finding("secure", "reference-dangling", str(instance_id), problem))
            report.dangling["secure"] += 1
        erased = await self._secure.erased_subjects()
        report.count("erased persons", len(erased))
        for user_id in await self._core.not_erased(erased):
            problem = "was erased, and personal data stand (again): clm erase --replay"
            report.add(Finding("core", "erasure-unfinished", str(user_id), problem))


def _should_open(certificate: SurveyedCertificate) -> bool:
    """Tell whether a certificate's stored key should open: it stands, and retention has not taken the key."""
    return certificate.state == "active" and certificate.private_key_id is not None and not certificate.key_went


def named(item: SurveyedCertificate | UnfinishedRequest | SurveyedRow) -> str:
    """Namespace and name, as people write them."""
    return f"{item.namespace}/{item.name}"


def _differences(certificate: SurveyedCertificate | None, row: SurveyedRow | None) -> Iterator[Finding]:
    """What is wrong with a certificate that both should know."""
    if row is None:
        if certificate is not None:
            name = f"{named(certificate)} revision {certificate.revision}"
            yield Finding("core", "inventory-missing", name, "is missing from the inventory", certificate.id)
        return
    name = f"{named(row)} revision {row.revision}"
    if certificate is None:
        yield Finding("core", "reference-dangling", name, "is not recorded in clm_secure_db")
        return
    if certificate.digest != row.fingerprint_sha256:
        yield Finding("core", "inventory-differs", name, "has another fingerprint than the recorded certificate")
    if certificate.state != row.status:
        problem = f"is {row.status} in the inventory and {certificate.state} in the record"
        wrong = WrongStatus(row.id, row.status, certificate.state)
        yield Finding("core", "inventory-differs", name, problem, certificate.id, wrong)


def _id(item: SurveyedCertificate | SurveyedRow) -> uuid.UUID:
    return item.id
