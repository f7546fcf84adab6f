"""What the comparison of the worlds does not call a finding: what ended as it should, and what others are about."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from clm.lifecycle.check import Checker
from clm.lifecycle.check_databases import DatabaseCheck
from clm.lifecycle.check_token import TokenCheck
from clm.lifecycle.findings import Finding, Report
from clm.lifecycle.integrity import Integrity
from clm.lifecycle.key_acts import Actor
from clm.lifecycle.pace import Pace
from clm.lifecycle.request import RequestBuilder
from clm.lifecycle.rsa_keys import RsaKeys
from clm.pki.tbs import ThrowawayKeys
from clm.storage.core.reports import ReportStore
from clm.storage.core.survey import CoreSurvey
from clm.storage.records import RecordStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.private_keys import PrivateKeyStore
from clm.storage.secure.quarantine import QuarantineStore
from clm.storage.secure.survey import SecureSurvey
from tests.integration.lifecycle.parts import AUDIT
from tests.sql import rows

if TYPE_CHECKING:
    from clm.resources.records import HsmKeyRow
    from tests.integration.lifecycle.parts import Parts, Site

ELSEWHERE = uuid.UUID(int=33)
NOW = datetime.now(UTC)
PAST = {"not_before": NOW - timedelta(days=200), "not_after": NOW - timedelta(days=100)}
PRESENT = {"not_before": NOW - timedelta(days=1), "not_after": NOW + timedelta(days=100)}
GONE = {"state": "destroyed", "destroyed_at": NOW, "wrapped_dek": None, "ciphertext": None}


async def _compare_databases(parts: Parts) -> Report:
    """Compare the databases as the operator of the cluster that `rows` writes for, and open every key."""
    check = DatabaseCheck(
        secure=SecureSurvey(parts.secure, cluster_id=rows.CLUSTER),
        core=CoreSurvey(parts.core, cluster_id=rows.CLUSTER),
        requests=RequestBuilder(
            token=parts.token,
            keyring=parts.keyring,
            private_keys=PrivateKeyStore(parts.secure),
            throwaway=ThrowawayKeys(),
            rsa_keys=RsaKeys(ThreadPoolExecutor(1), ready=lambda _: None),
        ),
    )
    report = Report()
    await check.compare(report, open_keys=True, pace=Pace())
    return report


def _kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def _certified(site: Site, key: dict[str, object], validity: dict[str, datetime]) -> None:
    """Record a certificate in both databases, with a stored key that is no ciphertext of ours."""
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        ca = rows.insert(connection, "encryption_keys", rows.ca_key())
        kek = rows.insert(connection, "encryption_keys", rows.key(organization_id=uuid.uuid4()))
        key_id = rows.insert(connection, "private_keys", rows.private_key(kek, **key))
        request = rows.request(ca, private_key_id=key_id, state="issued", issued_at=NOW, **validity)
        request_id = rows.insert(connection, "certificate_requests", request)
        values = rows.certificate(request_id, ca, private_key_id=key_id, **validity)
        rows.insert(connection, "certificates", values)
    same = ("id", "resource_uid", "issuer_key_id", "serial_number", "fingerprint_sha256", "not_before", "not_after")
    with psycopg.connect(site.databases.superuser_dsn("core"), autocommit=True) as connection:
        rows.insert(connection, "certificate_metadata", rows.metadata(**{name: values[name] for name in same}))


@pytest.mark.parametrize(
    ("key", "validity", "found"),
    [(GONE, PAST, []), (GONE, PRESENT, ["key-unopened"]), ({}, PAST, ["key-unopened"])],
    ids=["expired-and-destroyed", "valid-and-destroyed", "expired-and-stored"],
)
def test_a_key_that_retention_destroyed_need_not_open(
    site: Site, key: dict[str, object], validity: dict[str, datetime], found: list[str]
) -> None:
    """An expired certificate stays active on record; its key goes ninety days later. What is still stored must open."""
    _certified(site, key, validity)
    assert _kinds(site.do(_compare_databases)) == found


def test_what_another_cluster_is_about_is_not_a_finding(site: Site) -> None:
    """Two clusters share the databases: intents, certificates and the outbox of each are its own operator's."""
    long_ago = NOW - timedelta(hours=1)
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        ca = rows.insert(connection, "encryption_keys", rows.ca_key())
        for cluster, name in ((ELSEWHERE, "theirs"), (rows.CLUSTER, "ours")):
            of = {"cluster_id": cluster, "created_at": long_ago}
            rows.insert(connection, "certificate_requests", rows.request(ca, name=name, **of))
            issued = rows.request(ca, state="issued", issued_at=NOW, **of)
            request_id = rows.insert(connection, "certificate_requests", issued)
            rows.insert(connection, "certificates", rows.certificate(request_id, ca, name=name, cluster_id=cluster))
            late = "INSERT INTO clm_work.outbox (id, organization_id, created_at) VALUES (%s, %s, %s)"
            connection.execute(late, [request_id, rows.TENANT, long_ago])
    report = site.do(_compare_databases)
    assert [(finding.kind, finding.object) for finding in report.findings] == [
        ("intent-unsigned", "shop/ours"),
        ("outbox-late", "outbox"),
        ("inventory-missing", "shop/ours revision 1"),
    ]
    assert report.compared["certificates"] == 1
    assert "1 certificates wait" in report.findings[1].problem


async def _compare_token(parts: Parts, keys: KeyStore | None = None) -> list[tuple[str, str]]:
    """Compare the token; other tests have left keys in it, so only what has one of our labels is given."""
    check = TokenCheck(
        keys=keys or parts.keys,
        quarantine=QuarantineStore(parts.secure, **AUDIT),
        token=parts.token,
        hsm_keys=parts.hsm_keys,
        cluster_id=rows.CLUSTER,
    )
    report = Report()
    await check.compare(report)
    return [(finding.kind, finding.object) for finding in report.findings if finding.object.startswith("clm-ca-mine")]


class _Destroying(KeyStore):
    """The store of an operator to whose token something happens between its two looks."""

    parts: Parts
    key: HsmKeyRow

    async def all_rows(self) -> list[HsmKeyRow]:
        """Destroy the key as another process would, and then read."""
        await self.parts.key_acts().destroy(self.parts.token, self.key.id, reason="drill")
        return await super().all_rows()


def test_a_key_that_is_destroyed_meanwhile_is_no_orphan(site: Site) -> None:
    """Its objects were listed, its row says destroyed: nothing is reported, and nothing goes into the audit log."""

    async def act(parts: Parts) -> list[tuple[str, str]]:
        key = await parts.ca_key("mine-destroyed")
        await parts.key_acts().change(key.id, "deactivate", reason="drill")
        keys = _Destroying(parts.secure, **AUDIT)
        keys.parts, keys.key = parts, key
        return await _compare_token(parts, keys)

    assert site.do(act) == []
    quarantined = "SELECT id FROM clm_work.quarantined_objects WHERE label = 'clm-ca-mine-destroyed'"
    assert site.query("secure", quarantined) == []
    acts = "SELECT details->>'label' AS label FROM secure_audit_log WHERE action = 'key.quarantine'"
    assert {"label": "clm-ca-mine-destroyed"} not in site.query("secure", acts)


@pytest.mark.parametrize(("minutes", "found"), [(0, []), (10, [("key-unfinished", "clm-ca-mine")])])
@pytest.mark.parametrize("step", ["made", "destroyed"])
def test_a_key_on_its_way_is_given_time(site: Site, step: str, minutes: int, found: list[tuple[str, str]]) -> None:
    """Its row comes first and its destruction is two commits: only what stays so has been cut short."""
    then = datetime.now(UTC) - timedelta(minutes=minutes)
    state = (
        {"state": "generating", "token_serial": None, "spki": None, "spki_sha256": None}
        if step == "made"
        else {"state": "deactivated", "deactivated_at": then, "state_reason": "destruction begun: drill"}
    )
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        for cluster in (rows.CLUSTER, ELSEWHERE):
            of = {"label": "clm-ca-mine", "cluster_id": cluster, "created_at": then, "updated_at": then}
            rows.insert(connection, "encryption_keys", rows.ca_key(**of, **state))
    assert site.do(_compare_token) == found


class _Found(Checker):
    """A comparison that is over."""

    def __init__(self) -> None: ...

    async def check(self, **_: object) -> Report:
        """Give what was found."""
        report = Report()
        report.count("certificates", 3)
        report.add(Finding("core", "inventory-missing", "shop/web", "is missing"))
        return report


@pytest.mark.parametrize(
    ("actor", "recorded"),
    [
        (None, ("operator", "clm-controller", None)),
        (Actor("user:1", {"sealed": "x"}), ("user", "user:1", {"sealed": "x"})),
    ],
    ids=["the-schedule", "a-person"],
)
def test_a_comparison_is_on_the_record(site: Site, actor: Actor | None, recorded: tuple[object, ...]) -> None:
    """Who had it made, of which cluster, and how much was found; what, is in the report."""

    async def act(parts: Parts) -> None:
        integrity = Integrity(
            checker=_Found(),
            reports=ReportStore(parts.core, origin="test"),
            records=RecordStore(parts.secure, "secure"),
            cluster_id=rows.CLUSTER,
        )
        await integrity.run(open_keys=True, actor=actor)

    site.do(act)
    (row,) = site.query(
        "secure",
        "SELECT actor_type, actor_id, object_id, details FROM secure_audit_log WHERE action = 'integrity.check'",
    )
    assert (row["actor_type"], row["actor_id"], row["details"].pop("actor", None)) == recorded
    assert row["object_id"] == str(rows.CLUSTER)
    assert row["details"] == {"compared": {"certificates": 3}, "findings": 1, "openedKeys": True}
