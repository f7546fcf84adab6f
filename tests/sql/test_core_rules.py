"""What clm_core_db holds from the start, what it refuses, and what its views say."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors as pg

from clm.settings import SYSTEM_ORGANIZATION, organization_id
from tests.sql import rows
from tests.sql.rows import insert, update

if TYPE_CHECKING:
    from tests.sql.rows import Connection

NOW = datetime.now(UTC)


@pytest.fixture
def tenant(core: Connection) -> uuid.UUID:
    """An organization."""
    values = {"id": organization_id("shop"), "name": "shop", "display_name": "Shop"}
    return insert(core, "organizations", values)


@pytest.fixture
def member(core: Connection, tenant: uuid.UUID) -> uuid.UUID:
    """A user who is a member of it."""
    user = insert(core, "users", {"organization_id": tenant, "username": "ada", "email": "ada@shop.example"})
    insert(core, "user_organizations", {"organization_id": tenant, "user_id": user})
    return user


@pytest.fixture
def approval(core: Connection, tenant: uuid.UUID) -> uuid.UUID:
    """A workflow instance that waits for approval."""
    workflow = insert(
        core,
        "workflows",
        {"organization_id": SYSTEM_ORGANIZATION, "name": "certificate-approval", "kind": "certificate-approval"},
    )
    return insert(
        core,
        "workflow_instances",
        {
            "organization_id": tenant, "workflow_id": workflow, "idempotency_key": "web/1", "object_id": "web",
            "state": "awaiting-approval", "object_type": "certificate", "required_approvals": 2,
        },
    )  # fmt: skip


def test_the_system_organization_is_the_one_that_code_computes(core: Connection) -> None:
    """The seeded id is the UUIDv5 that both databases' rows are written under."""
    found = core.execute("SELECT id, name FROM organizations WHERE is_system").fetchall()
    assert found == [(SYSTEM_ORGANIZATION, "system")]


def test_six_roles_are_seeded(core: Connection) -> None:
    """They belong to the system organization; none may both administer users and decide on requests."""
    seeded = core.execute(
        "SELECT name, permissions FROM roles WHERE is_system AND organization_id = %s", [SYSTEM_ORGANIZATION]
    ).fetchall()
    permissions: dict[str, list[str]] = dict(seeded)
    assert set(permissions) == {
        "super_admin", "security_admin", "certificate_manager", "approver", "auditor", "viewer",
    }  # fmt: skip
    assert not [name for name, may in permissions.items() if "users:*" in may and "approvals:decide" in may]
    assert all(verb.endswith((":read", ":verify", ":export")) for verb in permissions["auditor"])


@pytest.mark.parametrize("change", [{"status": "closed"}, {"deleted_at": NOW}])
def test_the_system_organization_stays(core: Connection, change: dict[str, Any]) -> None:
    """What no tenant owns keeps its owner, and there is only one."""
    with pytest.raises(pg.CheckViolation, match="organizations_system_stays"):
        update(core, "organizations", SYSTEM_ORGANIZATION, **change)
    with pytest.raises(pg.UniqueViolation, match="organizations_one_system"):
        insert(core, "organizations", {"name": "system-2", "display_name": "System", "is_system": True})


def test_usernames_are_unique_in_an_organization(core: Connection, tenant: uuid.UUID, member: uuid.UUID) -> None:
    """Upper and lower case are one name; a deleted user frees it; other organizations learn nothing of it."""
    with pytest.raises(pg.UniqueViolation, match="users_username"):
        insert(core, "users", {"organization_id": tenant, "username": "ADA"})
    insert(core, "users", {"organization_id": SYSTEM_ORGANIZATION, "username": "ada"})
    update(core, "users", member, deleted_at=NOW)
    insert(core, "users", {"organization_id": tenant, "username": "ADA"})


def test_erasure_leaves_nothing_personal(core: Connection, member: uuid.UUID) -> None:
    """A user counts as erased only when the personal columns are empty, and not under legal hold."""
    erased = {"status": "erased", "erased_at": NOW, "username": "erased-1"}
    with pytest.raises(pg.CheckViolation, match="users_erased_empty"):
        update(core, "users", member, **erased)
    with pytest.raises(pg.CheckViolation, match="users_erased_empty"):
        update(core, "users", member, **erased, email=None, legal_hold=True)
    update(core, "users", member, **erased, email=None)


def test_roles_are_for_members(core: Connection, tenant: uuid.UUID, member: uuid.UUID) -> None:
    """A role in an organization needs membership there, is granted once, and not by oneself."""
    row = core.execute("SELECT id FROM roles WHERE name = 'approver'").fetchone()
    assert row is not None
    grant = {"organization_id": tenant, "user_id": member, "role_id": row[0]}
    with pytest.raises(pg.ForeignKeyViolation):
        insert(core, "user_roles", {**grant, "organization_id": SYSTEM_ORGANIZATION})
    with pytest.raises(pg.CheckViolation, match="user_roles_not_by_oneself"):
        insert(core, "user_roles", {**grant, "granted_by": member})
    first = insert(core, "user_roles", grant)
    with pytest.raises(pg.UniqueViolation, match="user_roles_granted_once"):
        insert(core, "user_roles", grant)
    assert _roles(core, member) == ["approver"]
    update(core, "user_roles", first, revoked_at=NOW)
    assert _roles(core, member) == []
    insert(core, "user_roles", {**grant, "granted_at": NOW - timedelta(2), "expires_at": NOW - timedelta(1)})
    assert _roles(core, member) == []


def test_each_approver_decides_once(core: Connection, tenant: uuid.UUID, approval: uuid.UUID) -> None:
    """Two approvals are of two people; the view counts them, and a rejection is none."""
    step = {
        "organization_id": tenant, "instance_id": approval, "kind": "approval", "name": "approve", "state": "approved",
        "decided_at": NOW,
    }  # fmt: skip
    with pytest.raises(pg.CheckViolation, match="workflow_steps_decided"):
        insert(core, "workflow_steps", {**step, "step_number": 1})
    insert(core, "workflow_steps", {**step, "step_number": 1, "approver": "ada"})
    with pytest.raises(pg.UniqueViolation, match="workflow_steps_one_decision"):
        insert(core, "workflow_steps", {**step, "step_number": 2, "approver": "ada"})
    insert(core, "workflow_steps", {**step, "step_number": 2, "approver": "bob", "state": "rejected"})
    waiting = core.execute("SELECT id, approvals_given, required_approvals FROM pending_approvals").fetchall()
    assert waiting == [(approval, 1, 2)]
    update(core, "workflow_instances", approval, state="rejected", finished_at=NOW)
    assert core.execute("SELECT id FROM pending_approvals").fetchall() == []


def test_a_workflow_starts_once(core: Connection, tenant: uuid.UUID, approval: uuid.UUID) -> None:
    """The idempotency key is unique in its organization, and a lease has an owner and an end."""
    row = core.execute("SELECT workflow_id FROM workflow_instances WHERE id = %s", [approval]).fetchone()
    assert row is not None
    again = {
        "organization_id": tenant, "workflow_id": row[0], "idempotency_key": "web/1", "object_type": "certificate",
        "object_id": "web",
    }  # fmt: skip
    with pytest.raises(pg.UniqueViolation):
        insert(core, "workflow_instances", again)
    with pytest.raises(pg.CheckViolation, match="workflow_instances_lease_whole"):
        update(core, "workflow_instances", approval, lease_owner="worker")
    with pytest.raises(pg.CheckViolation, match="workflow_instances_finished"):
        update(core, "workflow_instances", approval, state="approved")


def test_one_policy_generation_decides(core: Connection, tenant: uuid.UUID) -> None:
    """Of the generations of a Policy one is current."""
    policy = {
        "organization_id": tenant, "cluster_id": rows.CLUSTER, "resource_uid": uuid.uuid4(), "name": "internal",
        "spec": "{}", "spec_hash": bytes(32), "generation": 1, "version": 1,
    }  # fmt: skip
    first = insert(core, "policies", policy)
    following = {**policy, "version": 2, "generation": 2}
    with pytest.raises(pg.UniqueViolation, match="policies_current_name"):
        insert(core, "policies", following)
    update(core, "policies", first, is_current=False, effective_until=NOW + timedelta(1))
    insert(core, "policies", following)


def test_tokens_expire(core: Connection, tenant: uuid.UUID, member: uuid.UUID) -> None:
    """An API key has an end, and only a MAC of the right length is kept."""
    api_key = {
        "organization_id": tenant, "user_id": member, "name": "ci", "prefix": "clm_live", "hmac_key_id": "1",
        "token_hmac": os.urandom(32), "expires_at": NOW + timedelta(30),
    }  # fmt: skip
    insert(core, "api_keys", api_key)
    fresh = {**api_key, "prefix": "clm_next", "name": "next", "token_hmac": os.urandom(32)}
    with pytest.raises(pg.NotNullViolation):
        insert(core, "api_keys", {**fresh, "expires_at": None})
    with pytest.raises(pg.CheckViolation):
        insert(core, "api_keys", {**fresh, "token_hmac": b"token itself"})


def test_the_inventory_takes_what_exists(core: Connection) -> None:
    """A certificate of an organization that core has not heard of is taken; one that is there already is not."""
    first = rows.metadata(organization_id=uuid.uuid4())
    insert(core, "certificate_metadata", first)
    for same in ("id", "resource_uid", "serial_number", "fingerprint_sha256"):
        changes = {same: first[same], **({"issuer_key_id": first["issuer_key_id"]} if same == "serial_number" else {})}
        with pytest.raises(pg.UniqueViolation):
            insert(core, "certificate_metadata", rows.metadata(**changes))


def test_summary(core: Connection) -> None:
    """Each certificate is counted under what it is now, whatever was last written."""
    for end, status in (
        (NOW + timedelta(60), "active"), (NOW + timedelta(20), "active"), (NOW - timedelta(1), "active"),
        (NOW + timedelta(60), "superseded"), (NOW + timedelta(60), "revoked"),
    ):  # fmt: skip
        changes = {"not_before": NOW - timedelta(90), "not_after": end, "status": status}
        insert(core, "certificate_metadata", rows.metadata(**changes))
    counts = core.execute(
        "SELECT total, active, expiring, expired, superseded, revoked FROM certificate_summary"
    ).fetchall()
    assert counts == [(5, 2, 1, 1, 1, 1)]


def test_names_are_found_by_index(core: Connection) -> None:
    """A search for an alternative name uses the GIN index."""
    core.execute("SET LOCAL enable_seqscan = off")
    plan = core.execute(
        """EXPLAIN SELECT id FROM certificate_metadata WHERE sans @> '[{"type": "DNS", "value": "web.shop.svc"}]'"""
    ).fetchall()
    assert any("certificate_metadata_sans" in line for (line,) in plan)


def _roles(core: Connection, user: uuid.UUID) -> list[str]:
    row = core.execute("SELECT role_names FROM active_users_with_roles WHERE id = %s", [user]).fetchone()
    assert row is not None
    names: list[str] = row[0]
    return names
