"""Compares the three worlds: clm_secure_db, which is the truth, with clm_core_db, the cluster and the token.

It reads everything and changes nothing. Repair: what is not published as recorded goes back into the outbox, and the
controller publishes it again, without a new certificate; a status that somebody has changed in the inventory is set
back here, because no publication brings a certificate back to life. Keys are never touched.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clm.cluster import paths
from clm.errors import ClmError, HsmError
from clm.hsm.keys import list_keys
from clm.pki import keys as pki_keys
from clm.pki.chain import certificate_facts
from clm.storage.core.survey import WrongStatus
from clm.storage.secure.survey import SurveyedCertificate

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable

    from clm.cluster.client import ApiClient
    from clm.hsm.token import Token
    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.lifecycle.request import RequestBuilder
    from clm.resources.records import HsmKeyRow
    from clm.storage.core.survey import CoreSurvey
    from clm.storage.secure.keys import KeyStore
    from clm.storage.secure.survey import SecureSurvey, UnfinishedRequest

World = Literal["secure", "core", "cluster", "token"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as recorded. `republish` names the certificate whose publication mends it.

    `status` is there when a row of the inventory has to be set back first.
    """

    world: World
    object: str
    problem: str
    republish: uuid.UUID | None = None
    status: WrongStatus | None = None


@dataclass(slots=True)
class Report:
    """What was compared and what was found."""

    compared: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count something that was looked at."""
        self.compared[what] = self.compared.get(what, 0) + number


class Checker:
    """Compares; `open_keys` also unwraps every live private key and fits it to its certificate."""

    def __init__(
        self,
        *,
        secure: SecureSurvey,
        core: CoreSurvey,
        keys: KeyStore,
        client: ApiClient,
        token: Token,
        hsm_keys: HsmKeys,
        requests: RequestBuilder,
    ) -> None:
        self._secure = secure
        self._core = core
        self._keys = keys
        self._client = client
        self._token = token
        self._hsm_keys = hsm_keys
        self._requests = requests

    async def check(self, *, open_keys: bool, progress: Callable[[str], None] = lambda _: None) -> Report:
        """Compare everything once. Raises an Unavailable when one of the worlds cannot be read."""
        report = Report()
        progress("reading clm_secure_db")
        recorded = await self._recorded(report, open_keys=open_keys)
        progress("comparing clm_core_db")
        await self._compare_core(report, recorded)
        progress("comparing the cluster")
        await self._compare_cluster(report, recorded)
        progress("comparing the token")
        await self._compare_token(report)
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

    async def _recorded(self, report: Report, *, open_keys: bool) -> dict[uuid.UUID, SurveyedCertificate]:
        recorded: dict[uuid.UUID, SurveyedCertificate] = {}
        for request in await self._secure.pending():
            report.findings.append(
                Finding("secure", _named(request), f"intent of revision {request.revision} waits to be signed")
            )
        for request in await self._secure.unrecorded():
            report.findings.append(
                Finding("secure", _named(request), f"revision {request.revision} has no certificate")
            )
        async for page in self._secure.certificates():
            for certificate in page:
                report.count("certificates")
                recorded[certificate.id] = certificate
                if open_keys and certificate.state == "active" and certificate.private_key_id is not None:
                    await self._open_key(report, certificate, certificate.private_key_id)
        waiting, oldest_s = await self._secure.outbox()
        if waiting and oldest_s > 60:  # noqa: PLR2004 - a minute is far past any publication
            report.findings.append(
                Finding(
                    "secure", "outbox", f"{waiting} certificates wait to be published, the oldest for {oldest_s:.0f} s"
                )
            )
        return recorded

    async def _open_key(self, report: Report, certificate: SurveyedCertificate, key_id: uuid.UUID) -> None:
        try:
            key = await self._requests.open_key(key_id)
        except ClmError as error:
            report.findings.append(Finding("secure", _named(certificate), f"its private key does not open: {error}"))
            return
        report.count("private keys opened")
        facts = certificate_facts(certificate.certificate)
        if hashlib.sha256(pki_keys.spki_der(key.public_key())).digest() != facts.spki_sha256:
            report.findings.append(Finding("secure", _named(certificate), "its private key is not its certificate's"))

    async def _compare_core(self, report: Report, recorded: dict[uuid.UUID, SurveyedCertificate]) -> None:
        missing = dict(recorded)
        async for page in self._core.rows():
            for row in page:
                report.count("inventory rows")
                certificate = missing.pop(row.id, None)
                name = f"{row.namespace}/{row.name} revision {row.revision}"
                if certificate is None:
                    report.findings.append(Finding("core", name, "is not recorded in clm_secure_db"))
                    continue
                if hashlib.sha256(certificate.certificate).digest() != row.fingerprint_sha256:
                    report.findings.append(
                        Finding("core", name, "has another fingerprint than the recorded certificate")
                    )
                if certificate.state != row.status:
                    problem = f"is {row.status} in the inventory and {certificate.state} in the record"
                    wrong = WrongStatus(row.id, row.status, certificate.state)
                    report.findings.append(Finding("core", name, problem, certificate.id, wrong))
        for certificate in missing.values():
            name = f"{_named(certificate)} revision {certificate.revision}"
            report.findings.append(Finding("core", name, "is missing from the inventory", certificate.id))

    async def _compare_cluster(self, report: Report, recorded: dict[uuid.UUID, SurveyedCertificate]) -> None:
        by_id = {str(key): value for key, value in recorded.items()}
        wanted: dict[tuple[str, str], SurveyedCertificate] = {}
        async for page in self._pages(paths.CERTIFICATES):
            for item in page:
                report.count("Certificate objects")
                found = _published(item, by_id)
                if isinstance(found, SurveyedCertificate):
                    wanted[item["metadata"]["namespace"], item["spec"]["secretName"]] = found
                elif found is None:
                    report.count("refused Certificates")
                else:
                    name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
                    report.findings.append(Finding("cluster", name, found))
        # Private keys are held a page at a time.
        async for page in self._pages(paths.SECRETS, label_selector=paths.MANAGED_SELECTOR):
            for item in page:
                certificate = wanted.pop((item["metadata"]["namespace"], item["metadata"]["name"]), None)
                problem = _secret_problem(item, certificate) if certificate is not None else None
                if certificate is not None and problem is not None:
                    report.findings.append(Finding("cluster", _named(certificate), problem, certificate.id))
        for certificate in wanted.values():
            name = _named(certificate)
            report.findings.append(Finding("cluster", name, "its Secret is missing", certificate.id))

    async def _compare_token(self, report: Report) -> None:
        rows = {row.id: row for row in await self._keys.all_rows()}
        for found in await list_keys(self._token):
            report.count("token objects")
            if found.key_id is None or found.key_id not in rows:
                report.findings.append(Finding("token", found.label or "object", "is in the token and has no owner"))
        for row in rows.values():
            if row.state == "active" and row.purpose in ("ca-signing", "kek"):
                await self._verify_key(report, row)
            if row.state == "generating":
                report.findings.append(Finding("token", row.label, f"{row.purpose} key is still being made"))

    async def _verify_key(self, report: Report, row: HsmKeyRow) -> None:
        """A token restored from the wrong backup has keys of the right id that are not the right keys."""
        try:
            await self._hsm_keys.verify(row)
        except HsmError as error:
            report.findings.append(Finding("token", row.label, f"{row.purpose} key: {error}"))

    async def _pages(self, path: str, *, label_selector: str = "") -> AsyncIterator[list[dict[str, Any]]]:
        query = {"limit": "500"}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self._client.request("GET", path, query=query)
            yield page["items"]
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following


def _published(item: dict[str, Any], recorded: dict[str, SurveyedCertificate]) -> SurveyedCertificate | str | None:
    """Certificate that an object should have in its Secret; what is wrong with it; None when it was rightly refused."""
    status = item.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready")
    if ready is None or ready["status"] != "True":
        if "Stalled" in conditions and status.get("observedGeneration") == item["metadata"]["generation"]:
            return None
        why = f"{ready['reason']}: {ready['message']}" if ready else "it has not been looked at"
        return f"is not Ready ({why})"
    certificate = recorded.get(str(status.get("certificateId")))
    if certificate is None:
        return "is Ready with a certificate that is not recorded"
    if certificate.state != "active":
        return f"is Ready with a certificate that is {certificate.state}"
    return certificate


def _secret_problem(secret: dict[str, Any], certificate: SurveyedCertificate) -> str | None:
    data = secret.get("data") or {}
    try:
        chain = pki_keys.load_pem_certificates(base64.b64decode(data.get("tls.crt", "")))
        if not chain or chain[0] != certificate.certificate:
            return "its Secret holds another certificate than the recorded one"
        if certificate.private_key_id is None:
            return None
        key = pki_keys.load_pem_private_key(base64.b64decode(data.get("tls.key", "")))
    except ValueError:
        return "its Secret cannot be read"
    facts = certificate_facts(certificate.certificate)
    if hashlib.sha256(pki_keys.spki_der(key.public_key())).digest() != facts.spki_sha256:
        return "its Secret holds another key than the certificate's"
    return None


def _named(item: SurveyedCertificate | UnfinishedRequest) -> str:
    return f"{item.namespace}/{item.name}"
