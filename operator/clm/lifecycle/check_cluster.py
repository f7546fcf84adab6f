"""Compares the cluster with the record: every Certificate, and every Secret of ours.

A Certificate is remembered by a few hundred octets; Secrets, which hold private keys, come and go a page at a time.
What looks wrong is looked at again by itself: between the list of Certificates and that of Secrets some were renewed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from clm.cluster import paths
from clm.cluster.secrets import CERTIFICATE_NAME
from clm.lifecycle.check_databases import named
from clm.lifecycle.findings import Finding
from clm.lifecycle.view import Key
from clm.pki import keys as pki_keys
from clm.pki.chain import certificate_facts
from clm.resources.status import parse_time
from clm.storage.secure.survey import SurveyedCertificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from clm.cluster.client import ApiClient
    from clm.lifecycle.findings import Report
    from clm.lifecycle.pace import Pace
    from clm.storage.secure.survey import SecureSurvey

_PAGE = "500"
_CERTIFICATE_ID = "clm-operator.io/certificate-id"
_NIL = uuid.UUID(int=0)


class _Wanted(NamedTuple):
    """What a Secret should hold, and whose it is."""

    owner: Key
    digest: bytes
    has_key: bool


class ClusterCheck:
    """Compares Certificates and Secrets with the record. `patience`: how long a Certificate may be on its way."""

    def __init__(
        self, *, secure: SecureSurvey, client: ApiClient, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._secure = secure
        self._client = client
        self._clock = clock

    async def compare(self, report: Report, *, patience: timedelta, pace: Pace) -> None:
        """Read all Certificates and all Secrets of ours once, and what looks wrong again."""
        wanted: dict[Key, _Wanted] = {}
        doubtful: set[Key] = set()
        async for page in self._pages(paths.CERTIFICATES):
            report.count("Certificate objects", len(page))
            recorded = await self._secure.some(_certificate_ids(page))
            for item in page:
                found = self._published(item, recorded, patience)
                if isinstance(found, SurveyedCertificate):
                    wanted[Key(item["metadata"]["namespace"], item["spec"]["secretName"])] = _want(item, found)
                elif isinstance(found, Finding):
                    doubtful.add(_key(item))
                else:
                    report.count(found)
            await pace.rest()
        unknown = await self._compare_secrets(wanted, doubtful, report, pace)
        doubtful.update(left.owner for left in wanted.values())
        for key in sorted(doubtful):
            await self._look_again(report, key, patience)
            await pace.rest()
        for key, finding in unknown:
            if key not in doubtful:
                report.add(finding)

    async def _compare_secrets(
        self, wanted: dict[Key, _Wanted], doubtful: set[Key], report: Report, pace: Pace
    ) -> list[tuple[Key, Finding]]:
        """Strike off what stands; returns what the record has never heard of."""
        unknown: list[tuple[Key, Finding]] = []
        async for page in self._pages(paths.SECRETS, label_selector=paths.MANAGED_SELECTOR):
            report.count("Secrets", len(page))
            pairs = [(item, wanted.pop(_key(item), None)) for item in page]
            doubtful.update(await asyncio.to_thread(_wrong_ones, pairs))
            unknown += await self._unknown([item for item, want in pairs if want is None])
            await pace.rest()
        return unknown

    async def _unknown(self, secrets: list[dict[str, Any]]) -> list[tuple[Key, Finding]]:
        """Secrets that no Certificate accounts for, with a certificate that is not recorded."""
        by_id = {found: item for item in secrets if (found := _annotated_id(item)) is not None}
        recorded = await self._secure.some(by_id)
        findings = []
        for certificate_id, item in by_id.items():
            if certificate_id not in recorded:
                owner = (item["metadata"].get("annotations") or {}).get(CERTIFICATE_NAME, "")
                name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
                problem = f"this Secret holds a certificate that is not recorded (serial {_serial_of(item)})"
                key = Key(item["metadata"]["namespace"], owner)
                findings.append((key, Finding("cluster", "serial-unknown", name, problem)))
        return findings

    async def _look_again(self, report: Report, key: Key, patience: timedelta) -> None:
        item = await self._client.get(paths.certificate(*key))
        if item is None:
            return
        recorded = await self._secure.some(_certificate_ids([item]))
        found = self._published(item, recorded, patience)
        if isinstance(found, Finding):
            report.add(found)
        elif isinstance(found, SurveyedCertificate):
            await self._look_at_secret(report, item, found)

    async def _look_at_secret(self, report: Report, item: dict[str, Any], found: SurveyedCertificate) -> None:
        secret = await self._client.get(paths.secret(item["metadata"]["namespace"], item["spec"]["secretName"]))
        if secret is None:
            report.add(Finding("cluster", "secret-missing", named(found), "its Secret is missing", found.id))
            return
        problem = secret_problem(secret, _want(item, found))
        if problem is not None:
            report.add(Finding("cluster", "secret-differs", named(found), problem, found.id))

    def _published(
        self, item: dict[str, Any], recorded: Mapping[uuid.UUID, SurveyedCertificate], patience: timedelta
    ) -> SurveyedCertificate | Finding | str:
        """Certificate that an object should have in its Secret, or what is wrong; as text, why there is nothing."""
        name, status = str(_key(item)), item.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
        ready = conditions.get("Ready")
        if ready is None or ready["status"] != "True":
            if "Stalled" in conditions and status.get("observedGeneration") == item["metadata"]["generation"]:
                return "refused Certificates"
            if self._clock() - _since(item, ready) < patience:
                return "Certificates on their way"
            why = f"{ready['reason']}: {ready['message']}" if ready else "it has not been looked at"
            return Finding("cluster", "not-ready", name, f"is not Ready ({why})")
        certificate = recorded.get(_uuid(status.get("certificateId")) or _NIL)
        if certificate is None:
            serial = status.get("serialNumber", "unknown")
            problem = f"is Ready with a certificate that is not recorded (serial {serial})"
            return Finding("cluster", "serial-unknown", name, problem)
        if certificate.state != "active":
            problem = f"is Ready with a certificate that is {certificate.state}"
            return Finding("cluster", "certificate-ended", name, problem)
        return certificate

    async def _pages(self, path: str, *, label_selector: str = "") -> AsyncIterator[list[dict[str, Any]]]:
        query = {"limit": _PAGE}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            page = await self._client.request("GET", path, query=query)
            yield page["items"]
            following = page["metadata"].get("continue")
            if not following:
                return
            query["continue"] = following


def _wrong_ones(pairs: list[tuple[dict[str, Any], _Wanted | None]]) -> list[Key]:
    return [want.owner for secret, want in pairs if want is not None and secret_problem(secret, want) is not None]


def secret_problem(secret: Mapping[str, Any], wanted: _Wanted) -> str | None:
    """What is wrong with the content of a Secret; None when it is as recorded."""
    data = secret.get("data") or {}
    try:
        chain = pki_keys.load_pem_certificates(base64.b64decode(data.get("tls.crt", "")))
        if not chain or hashlib.sha256(chain[0]).digest() != wanted.digest:
            return "its Secret holds another certificate than the recorded one"
        if not wanted.has_key:
            return None
        key = pki_keys.load_pem_private_key(base64.b64decode(data.get("tls.key", "")))
    except ValueError:
        return "its Secret cannot be read"
    if hashlib.sha256(pki_keys.spki_der(key.public_key())).digest() != certificate_facts(chain[0]).spki_sha256:
        return "its Secret holds another key than the certificate's"
    return None


def _want(item: Mapping[str, Any], certificate: SurveyedCertificate) -> _Wanted:
    return _Wanted(_key(item), certificate.digest, certificate.private_key_id is not None)


def _key(item: Mapping[str, Any]) -> Key:
    return Key(item["metadata"]["namespace"], item["metadata"]["name"])


def _certificate_ids(items: list[dict[str, Any]]) -> list[uuid.UUID]:
    found = (_uuid((item.get("status") or {}).get("certificateId")) for item in items)
    return [certificate_id for certificate_id in found if certificate_id is not None]


def _annotated_id(secret: Mapping[str, Any]) -> uuid.UUID | None:
    return _uuid((secret["metadata"].get("annotations") or {}).get(_CERTIFICATE_ID))


def _uuid(text: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text)) if text else None
    except ValueError:
        return None


def _serial_of(secret: Mapping[str, Any]) -> str:
    try:
        chain = pki_keys.load_pem_certificates(base64.b64decode((secret.get("data") or {}).get("tls.crt", "")))
        return certificate_facts(chain[0]).serial_number.hex(":") if chain else "unknown"
    except ValueError:
        return "unreadable"


def _since(item: Mapping[str, Any], ready: Mapping[str, Any] | None) -> datetime:
    """When the object came into the state that it is in."""
    text = ready["lastTransitionTime"] if ready else item["metadata"]["creationTimestamp"]
    return parse_time(text) or datetime.min.replace(tzinfo=UTC)
