"""What is past its retention goes, in batches that a crash cannot tear; what is needed, held or young stays."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from clm.lifecycle.boundaries import no_boundary
from clm.lifecycle.retention import Retention, RetentionPeriods
from clm.settings import SYSTEM_ORGANIZATION
from clm.storage.retention import RetentionStore
from clm.storage.secure.destruction import PrivateKeyDestruction
from tests.integration.issuance.workshop import Crash, crash_at
from tests.integration.lifecycle.parts import AUDIT
from tests.sql import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.lifecycle.boundaries import Boundary
    from tests.integration.lifecycle.parts import Parts, Site

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - timedelta(days=400), NOW - timedelta(days=1)
_DAYS = timedelta(days=30)
PERIODS = RetentionPeriods(
    audit=timedelta(days=731),
    rows=dict.fromkeys(("failed-requests", "refused-approvals", "notifications", "sessions", "reports"), _DAYS),
    superseded_keys=_DAYS,
    revoked_keys=timedelta(days=7),
    expired_keys=timedelta(days=90),
)


def _retention(parts: Parts, boundary: Boundary = no_boundary, periods: RetentionPeriods = PERIODS) -> Retention:
    return Retention(
        periods=periods,
        stores=(RetentionStore(parts.secure, "secure", **AUDIT), RetentionStore(parts.core, "core", **AUDIT)),
        keys=PrivateKeyDestruction(parts.secure, **AUDIT),
        boundary=boundary,
    )


def _due(site: Site) -> dict[str, int]:
    return {item.rule: item.count for item in site.do(lambda parts: _retention(parts).due()) if item.count}


def _apply(site: Site, boundary: Boundary = no_boundary) -> dict[str, int]:
    went = site.do(lambda parts: _retention(parts, boundary).apply())
    return {item.rule: item.count for item in went if item.count}


class _Keys:
    """Makes leaf keys with a certificate in each state, its row last changed when it is told."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        # Past moments can only be written where updated_at is not kept by its trigger.
        self._connection.execute("SET session_replication_role = replica")
        self._ca = rows.insert(self._connection, "encryption_keys", rows.ca_key())
        self._kek = rows.insert(self._connection, "encryption_keys", rows.key(organization_id=uuid.uuid4()))

    def key(self, **changes: Any) -> uuid.UUID:
        values = rows.private_key(self._kek, **{"created_at": OLD, **changes})
        return rows.insert(self._connection, "private_keys", values)

    def certified(self, state: str, changed: datetime, *, not_after: datetime | None = None, **key: Any) -> uuid.UUID:
        key_id = self.key(**key)
        self.certify(key_id, state, changed, not_after=not_after)
        return key_id

    def certify(
        self, key_id: uuid.UUID, state: str, changed: datetime, *, not_after: datetime | None = None
    ) -> uuid.UUID:
        request_id = self.request(key_id, state="issued")
        valid = {"not_before": OLD - _DAYS, "not_after": not_after or NOW + _DAYS}
        values = rows.certificate(request_id, self._ca, private_key_id=key_id, state=state, updated_at=changed, **valid)
        return rows.insert(self._connection, "certificates", values)

    def request(self, key_id: uuid.UUID | None = None, **changes: Any) -> uuid.UUID:
        if changes.get("state") == "issued":
            changes["issued_at"] = OLD
        values = rows.request(self._ca, private_key_id=key_id, **changes)
        return rows.insert(self._connection, "certificate_requests", values)


@pytest.fixture
def keys(site: Site) -> Iterator[_Keys]:
    """What makes keys in clm_secure_db."""
    with psycopg.connect(site.databases.superuser_dsn("secure"), autocommit=True) as connection:
        yield _Keys(connection)


def _destroyed(site: Site) -> set[uuid.UUID]:
    gone = site.query(
        "secure", "SELECT id FROM private_keys WHERE state = 'destroyed' AND num_nulls(wrapped_dek, ciphertext) = 2"
    )
    return {row["id"] for row in gone}


def test_a_private_key_goes_when_its_certificates_have_ended(site: Site, keys: _Keys) -> None:
    """Superseded, revoked or expired for long enough; the certificates stay, and every key has its record."""
    due = {
        keys.certified("superseded", NOW - timedelta(days=31)),
        keys.certified("revoked", NOW - timedelta(days=8)),
        keys.certified("active", OLD, not_after=NOW - timedelta(days=91)),
        keys.key(),
    }
    stay = {
        keys.certified("superseded", NOW - timedelta(days=29)),
        keys.certified("revoked", NOW - timedelta(days=6)),
        keys.certified("active", OLD),
        keys.certified("active", OLD, not_after=NOW - timedelta(days=89)),
        keys.certified("superseded", OLD, legal_hold=True),
        keys.key(created_at=YOUNG),
    }
    renewed = keys.certified("superseded", OLD)
    keys.certify(renewed, "active", YOUNG)
    asked_for = keys.certified("superseded", OLD)
    keys.request(asked_for)
    before = site.query("secure", "SELECT count(*) AS number FROM certificates")
    assert _due(site) == {"private-keys": len(due)}
    assert _destroyed(site) == set()
    assert _apply(site) == {"private-keys": len(due)}
    assert _destroyed(site) == due
    assert stay | {renewed, asked_for} == {
        row["id"] for row in site.query("secure", "SELECT id FROM private_keys WHERE state <> 'destroyed'")
    }
    assert site.query("secure", "SELECT count(*) AS number FROM certificates") == before
    assert {action for key in due for action in site.actions("secure", key)} == {"key.destroy"}
    assert _apply(site) == {}


def test_a_destruction_that_crashed_between_batches_goes_on(
    site: Site, keys: _Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch stands by itself: what went is recorded, what is left goes the next time, nothing twice."""
    monkeypatch.setattr("clm.lifecycle.retention.BATCH", 2)
    due = {keys.certified("superseded", OLD) for _ in range(5)}
    with pytest.raises(Crash):
        _apply(site, crash_at("retention.batch-done"))
    assert len(_destroyed(site)) == 2
    assert _apply(site) == {"private-keys": 3}
    assert _destroyed(site) == due
    assert [site.actions("secure", key) for key in due] == [["key.destroy"]] * 5


def test_a_key_that_is_taken_again_meanwhile_stays(site: Site, keys: _Keys) -> None:
    """An intent that names the key and commits while the rule waits for its row is seen."""
    key_id = keys.certified("superseded", OLD)
    with psycopg.connect(site.databases.superuser_dsn("secure")) as other:
        ca = other.execute("SELECT id FROM encryption_keys WHERE purpose = 'ca-signing'").fetchone()
        assert ca is not None
        rows.insert(other, "certificate_requests", rows.request(ca[0], private_key_id=key_id))
        # The reference holds the key's row, so the rule passes it by.
        assert _apply(site) == {}
        other.commit()
    assert _apply(site) == {}
    assert _destroyed(site) == set()


def test_rows_that_are_past_their_retention_go(site: Site, keys: _Keys) -> None:
    """Sessions, notifications and reports are deleted, requests and approvals forget who asked; young ones stay."""
    who = psycopg.types.json.Jsonb({"username": "ada"})
    old = keys.request(state="failed", failure_reason="x", requested_by=who, updated_at=OLD)
    young = keys.request(state="failed", failure_reason="x", requested_by=who, updated_at=YOUNG)
    for moment in (OLD, YOUNG):
        _fill_core(site, moment)
    expected = dict.fromkeys(("failed-requests", "refused-approvals", "notifications", "sessions", "reports"), 1)
    assert _due(site) == expected
    assert _apply(site) == expected
    assert _apply(site) == {}
    left = site.query("secure", "SELECT id, deleted_at IS NULL AS counts, requested_by FROM certificate_requests")
    assert sorted(left, key=lambda row: row["counts"]) == [
        {"id": old, "counts": False, "requested_by": {}},
        {"id": young, "counts": True, "requested_by": {"username": "ada"}},
    ]
    approvals = site.query("core", "SELECT deleted_at IS NULL AS counts, requested_by FROM workflow_instances")
    assert sorted(approvals, key=lambda row: row["counts"]) == [
        {"counts": False, "requested_by": {}},
        {"counts": True, "requested_by": {"username": "ada"}},
    ]
    for table in ("sessions", "notifications", "clm_work.integrity_reports"):
        assert site.query("core", f"SELECT count(*) AS number FROM {table}") == [{"number": 1}], table
    acts = site.query("core", "SELECT object_id FROM audit_log WHERE action = 'retention.apply' ORDER BY object_id")
    assert [row["object_id"] for row in acts] == ["notifications", "refused-approvals", "reports", "sessions"]


def _fill_core(site: Site, moment: datetime) -> None:
    values = {"org": SYSTEM_ORGANIZATION, "user": uuid.uuid4(), "flow": uuid.uuid4(), "at": moment}
    statements = """
    INSERT INTO users (id, organization_id, username) VALUES (%(user)s, %(org)s, %(user)s::text);
    INSERT INTO user_organizations (organization_id, user_id) VALUES (%(org)s, %(user)s);
    INSERT INTO sessions (organization_id, user_id, token_sha256, auth_method, created_at, idle_expires_at, expires_at)
    VALUES (%(org)s, %(user)s, sha256(%(user)s::text::bytea), 'oidc', %(at)s, %(at)s, %(at)s + interval '1 minute');
    INSERT INTO notifications (organization_id, kind, channel, recipient, deduplication_key, state, sent_at, created_at)
    VALUES (%(org)s, 'renewal', 'email', 'a@example.com', %(user)s::text, 'sent', %(at)s, %(at)s);
    INSERT INTO workflows (id, organization_id, name, kind)
    VALUES (%(flow)s, %(org)s, %(flow)s::text, 'certificate-approval');
    INSERT INTO workflow_instances (organization_id, workflow_id, idempotency_key, object_type, object_id, state,
        finished_at, requested_by)
    VALUES (%(org)s, %(flow)s, %(flow)s::text, 'certificate', 'c', 'rejected', %(at)s, '{"username": "ada"}');
    INSERT INTO clm_work.integrity_reports (organization_id, started_at, finished_at, origin, opened_keys, compared,
        finding_count, findings)
    VALUES (%(org)s, %(at)s, %(at)s, 'pod', false, '{}', 0, '[]')
    """
    for statement in statements.split(";"):
        site.query("core", statement, **values)


def test_months_of_the_audit_log_are_only_named(site: Site) -> None:
    """A month goes by its archive alone: here it is told that it is due, and whether it may go."""
    site.query(
        "core",
        "CREATE TABLE clm_audit_parts.audit_log_2020_01 PARTITION OF audit_log"
        " FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')",
    )
    months = site.do(lambda parts: _retention(parts).months())
    assert [(month.database, month.partition, month.archived) for month in months] == [
        ("core", "audit_log_2020_01", False)
    ]
    _apply(site)
    assert site.query("core", "SELECT to_regclass('clm_audit_parts.audit_log_2020_01') IS NOT NULL AS stands") == [
        {"stands": True}
    ]
