"""What clm_secure_db refuses, whoever asks: the last wall behind the operator's own care."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from tests.sql import rows
from tests.sql.rows import insert, update

if TYPE_CHECKING:
    from tests.sql.rows import Connection

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def kek(secure: Connection) -> uuid.UUID:
    """The key-encryption key in use."""
    return insert(secure, "encryption_keys", rows.key())


@pytest.fixture
def issuer(secure: Connection) -> uuid.UUID:
    """A CA key in use, of another organization than the leaves: issuers may be shared."""
    return insert(secure, "encryption_keys", rows.ca_key(organization_id=rows.OTHER_TENANT))


@pytest.fixture
def intent(secure: Connection, issuer: uuid.UUID) -> uuid.UUID:
    """An intent that waits to be signed."""
    return insert(secure, "certificate_requests", rows.request(issuer))


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"token_serial": None}, "encryption_keys_active_identified"),
        ({"check_value": None}, "encryption_keys_active_identified"),
        ({"state": "destroyed"}, "encryption_keys_destroyed_gone"),
        ({"state": "forgotten"}, "encryption_keys_state_check"),
        ({"purpose": "everything"}, "encryption_keys_purpose_check"),
        ({"version": 0}, "encryption_keys_version_check"),
        ({"resource_uid": uuid.uuid4()}, "encryption_keys_owner_whole"),
        ({"spki": b"x", "spki_sha256": bytes(32)}, "encryption_keys_spki_hashed"),
        ({"spki": b"x"}, "encryption_keys_spki_hashed"),
        ({"subject_reference": "person-1"}, "encryption_keys_subject_named"),
        ({"activated_at": NOW, "oup_ends_at": NOW}, "encryption_keys_periods"),
        ({"oup_ends_at": NOW, "rup_ends_at": NOW - timedelta(1)}, "encryption_keys_periods"),
    ],
)
def test_keys(secure: Connection, changes: dict[str, Any], constraint: str) -> None:
    """An active key is identified, a destroyed one is gone, and cryptoperiods are in order (SP 800-57)."""
    with pytest.raises(pg.CheckViolation, match=constraint):
        insert(secure, "encryption_keys", rows.key(**changes))


def test_a_key_that_is_being_made_needs_no_token(secure: Connection) -> None:
    """The row comes before the key."""
    insert(secure, "encryption_keys", rows.key(state="generating", token_serial=None, check_value=None))


def test_a_wrapped_subject_key_counts_as_active_until_it_is_shredded(secure: Connection, kek: uuid.UUID) -> None:
    """Erasure: the wrapped key goes, the row that says so stays."""
    values = rows.key(
        purpose="subject-shred", subject_reference="person-1", wrapping_key_id=kek, wrapped_key=os.urandom(60),
        token_serial=None, check_value=None,
    )  # fmt: skip
    shred = insert(secure, "encryption_keys", values)
    update(secure, "encryption_keys", shred, state="deactivated", deactivated_at=NOW)
    with pytest.raises(pg.CheckViolation, match="encryption_keys_destroyed_gone"):
        update(secure, "encryption_keys", shred, state="destroyed", destroyed_at=NOW)
    update(secure, "encryption_keys", shred, state="destroyed", destroyed_at=NOW, wrapped_key=None)


def test_one_active_kek_at_a_time(secure: Connection, kek: uuid.UUID) -> None:
    """The next version is made beside the active one and takes over when that one has stepped down."""
    with pytest.raises(pg.UniqueViolation, match="encryption_keys_organization_version"):
        insert(secure, "encryption_keys", rows.key(state="generating"))
    following = insert(secure, "encryption_keys", rows.key(version=2, state="generating"))
    with pytest.raises(pg.UniqueViolation, match="encryption_keys_one_active_kek"):
        update(secure, "encryption_keys", following, state="active")
    update(secure, "encryption_keys", kek, state="deactivated", deactivated_at=NOW)
    update(secure, "encryption_keys", following, state="active")


def test_a_ca_key_is_made_once(secure: Connection) -> None:
    """Two workers cannot both make version 1 of one Certificate's key."""
    owner = uuid.uuid4()
    insert(secure, "encryption_keys", rows.ca_key(resource_uid=owner))
    with pytest.raises(pg.UniqueViolation, match="encryption_keys_owned_version"):
        insert(secure, "encryption_keys", rows.ca_key(resource_uid=owner))
    insert(secure, "encryption_keys", rows.ca_key(resource_uid=owner, version=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"wrapped_dek": bytes(32)},  # as long as a key that is not wrapped
        {"wrapped_dek": None},
        {"ciphertext": None},
        {"state": "destroyed", "destroyed_at": NOW},
        {"state": "destroyed", "wrapped_dek": None, "ciphertext": None},
        {"destroyed_at": NOW},
        {"spki_sha256": bytes(31)},
        {"wrap_algorithm": "none"},
    ],
)
def test_private_keys(secure: Connection, kek: uuid.UUID, changes: dict[str, Any]) -> None:
    """A leaf key is wrapped and whole, or destroyed and gone; nothing between."""
    with pytest.raises(pg.CheckViolation):
        insert(secure, "private_keys", rows.private_key(kek, **changes))


def test_destroying_a_private_key(secure: Connection, kek: uuid.UUID) -> None:
    """Its row stays, its bytes do not."""
    made = insert(secure, "private_keys", rows.private_key(kek))
    update(secure, "private_keys", made, state="destroyed", destroyed_at=NOW, wrapped_dek=None, ciphertext=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"serial_number": bytes(7)},
        {"serial_number": b"\x01" * 21},
        {"serial_number": b"\x80" + bytes(19)},  # 21 octets in DER: RFC 5280 4.1.2.2 allows 20
        {"revision": 0},
        {"spec_hash": b""},
        {"tbs": b""},
        {"not_after": rows.NOT_BEFORE},
        {"reason": "because"},
        {"state": "issued"},  # without a time
        {"state": "lost"},
        {"subject_key_id": "issuer", "private_key_id": "private key"},
    ],
)
def test_requests(secure: Connection, kek: uuid.UUID, issuer: uuid.UUID, changes: dict[str, Any]) -> None:
    """An intent is complete and possible."""
    stored = insert(secure, "private_keys", rows.private_key(kek))
    ids = {"issuer": issuer, "private key": stored}
    changes = {name: ids.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    with pytest.raises(pg.CheckViolation):
        insert(secure, "certificate_requests", rows.request(issuer, **changes))


@pytest.mark.parametrize("same", [("resource_uid",), ("serial_number",)])
def test_one_intent_a_revision_and_a_serial(secure: Connection, issuer: uuid.UUID, same: tuple[str, ...]) -> None:
    """No revision has two intents, and no issuer key a serial twice."""
    first = rows.request(issuer)
    insert(secure, "certificate_requests", first)
    with pytest.raises(pg.UniqueViolation):
        insert(secure, "certificate_requests", rows.request(issuer, **{name: first[name] for name in same}))


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint_sha256": bytes(32)},  # of other bytes
        {"certificate": b""},
        {"not_after": rows.NOT_BEFORE},
        {"path_length": 0},  # of a leaf
        {"state": "expired"},
        {"serial_number": bytes(4)},
    ],
)
def test_certificates(secure: Connection, issuer: uuid.UUID, intent: uuid.UUID, changes: dict[str, Any]) -> None:
    """A certificate is the bytes that its fingerprint is of."""
    with pytest.raises(pg.CheckViolation):
        insert(secure, "certificates", rows.certificate(intent, issuer, **changes))


def test_one_certificate_an_intent(secure: Connection, issuer: uuid.UUID, intent: uuid.UUID) -> None:
    """What was intended once is recorded once; what was not intended, never."""
    insert(secure, "certificates", rows.certificate(intent, issuer))
    with pytest.raises(pg.UniqueViolation, match="certificates_request_id_key"):
        insert(secure, "certificates", rows.certificate(intent, issuer, id=uuid.uuid4()))
    with pytest.raises(pg.ForeignKeyViolation), secure.transaction():
        insert(secure, "certificates", rows.certificate(uuid.uuid4(), issuer))


def test_no_row_points_into_another_organization(
    secure: Connection, kek: uuid.UUID, issuer: uuid.UUID, intent: uuid.UUID
) -> None:
    """Row-level security does not see foreign keys, so these carry the organization; the shared issuer does not."""
    foreign = insert(secure, "private_keys", rows.private_key(kek, organization_id=rows.OTHER_TENANT))
    with pytest.raises(pg.ForeignKeyViolation):
        insert(secure, "certificate_requests", rows.request(issuer, private_key_id=foreign))
    with pytest.raises(pg.ForeignKeyViolation):
        insert(secure, "certificates", rows.certificate(intent, issuer, organization_id=rows.OTHER_TENANT))
    made = insert(secure, "certificates", rows.certificate(intent, issuer))
    revocation = {"certificate_id": made, "issuer_key_id": issuer, "serial_number": bytes(8)}
    with pytest.raises(pg.ForeignKeyViolation):
        insert(secure, "certificate_revocations", {**revocation, "organization_id": rows.OTHER_TENANT})


@pytest.mark.parametrize(("code", "accepted"), [(1, True), (6, True), (7, False), (8, True), (10, True), (11, False)])
def test_revocation_reasons(
    secure: Connection, issuer: uuid.UUID, intent: uuid.UUID, code: int, *, accepted: bool
) -> None:
    """Exactly the CRLReason values of RFC 5280 5.3.1; 7 is not one."""
    made = insert(secure, "certificates", rows.certificate(intent, issuer))
    values = {
        "organization_id": rows.TENANT, "certificate_id": made, "issuer_key_id": issuer, "serial_number": bytes(8),
        "reason_code": code,
    }  # fmt: skip
    if accepted:
        insert(secure, "certificate_revocations", values)
        with pytest.raises(pg.UniqueViolation):
            insert(secure, "certificate_revocations", values)
    else:
        with pytest.raises(pg.CheckViolation):
            insert(secure, "certificate_revocations", values)


def test_what_waits_for_a_crl_is_read_in_the_order_of_its_index(secure: Connection) -> None:
    """A page of a million unpublished revocations must not cost that all of them are sorted."""
    secure.execute("SET LOCAL enable_seqscan = off")
    secure.execute("SET LOCAL enable_bitmapscan = off")
    plan = secure.execute(
        "EXPLAIN SELECT id FROM certificate_revocations WHERE issuer_key_id = %(id)s AND published_at IS NULL"
        " AND id > %(id)s ORDER BY id LIMIT 5000",
        {"id": rows.TENANT},
    ).fetchall()
    assert any("certificate_revocations_waiting" in line for (line,) in plan)
    assert not any("Sort" in line for (line,) in plan)


def test_one_rotation_of_the_kek_at_a_time(secure: Connection) -> None:
    """Two runs would wrap the same keys under two new ones; counting only is always allowed."""
    run = {"organization_id": rows.TENANT, "target_kind": "key-encryption-key", "state": "running"}
    insert(secure, "key_rotation_history", run)
    insert(secure, "key_rotation_history", {**run, "dry_run": True})
    with pytest.raises(pg.UniqueViolation, match="key_rotation_history_one_kek_run"):
        insert(secure, "key_rotation_history", run)
    with pytest.raises(pg.CheckViolation, match="key_rotation_history_finished"):
        insert(secure, "key_rotation_history", {**run, "state": "succeeded"})


def test_only_what_is_recorded_is_published(secure: Connection) -> None:
    """The outbox holds certificates and nothing else."""
    with pytest.raises(pg.ForeignKeyViolation), secure.transaction():
        secure.execute(
            "INSERT INTO clm_work.outbox (id, organization_id) VALUES (gen_random_uuid(), gen_random_uuid())"
        )


@pytest.mark.parametrize(
    ("column", "value"),
    [("action", "Issued"), ("action", "issue"), ("actor_type", "ghost"), ("outcome", "maybe"), ("ledger_epoch", 0)],
)
def test_audit_records(secure: Connection, column: str, value: object) -> None:
    """A record names its actor's kind, its action as object and verb, and its outcome, from fixed lists."""
    values = {
        "organization_id": rows.TENANT, "actor_type": "operator", "actor_id": "clm", "action": "certificate.issue",
        "object_type": "certificate", "object_id": "x",
    }  # fmt: skip
    insert(secure, "secure_audit_log", values)
    with pytest.raises(pg.CheckViolation):
        insert(secure, "secure_audit_log", {**values, column: value})


def test_updated_at(secure: Connection, kek: uuid.UUID, issuer: uuid.UUID, intent: uuid.UUID) -> None:
    """Every change of the four tables is stamped, whatever the statement says."""
    ids = {
        "encryption_keys": kek,
        "private_keys": insert(secure, "private_keys", rows.private_key(kek)),
        "certificate_requests": intent,
        "certificates": insert(secure, "certificates", rows.certificate(intent, issuer)),
    }
    for table, row_id in ids.items():
        update(secure, table, row_id, updated_at=NOW)
        query = psycopg.sql.SQL("SELECT updated_at = now() FROM {} WHERE id = %s").format(psycopg.sql.Identifier(table))
        assert secure.execute(query, [row_id]).fetchone() == (True,), table


def test_views_show_what_counts_now(secure: Connection, issuer: uuid.UUID) -> None:
    """Active: valid now and not ended. Expiring: of these, what ends within 30 days."""
    now = datetime.now(UTC)
    lifetimes = {
        "long": (now - timedelta(1), now + timedelta(60), "active"),
        "short": (now - timedelta(1), now + timedelta(20), "active"),
        "over": (now - timedelta(9), now - timedelta(1), "active"),
        "later": (now + timedelta(1), now + timedelta(60), "active"),
        "revoked": (now - timedelta(1), now + timedelta(20), "revoked"),
    }
    for name, (start, end, state) in lifetimes.items():
        intent = insert(secure, "certificate_requests", rows.request(issuer))
        changes = {"name": name, "not_before": start, "not_after": end, "state": state}
        insert(secure, "certificates", rows.certificate(intent, issuer, **changes))
    shown = [
        {row[0] for row in secure.execute(f"SELECT name FROM {view}".encode()).fetchall()}
        for view in ("active_certificates", "expiring_certificates")
    ]
    assert shown == [{"long", "short"}, {"short"}]
