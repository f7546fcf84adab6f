"""What a tenant may refer to: foreign keys see every organization's rows, so each such write is tried as the API."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from clm.settings import SYSTEM_ORGANIZATION
from tests.sql.rows import insert
from tests.sql.tenants import ONE, OTHER, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

# The key columns that carry no organization. Those that the API cannot write are for the operator to keep right.
PLAIN = """
SELECT format('%s.%s', c.conrelid::regclass, a.attname) FROM pg_constraint c
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND a.attname <> 'organization_id'
AND (has_column_privilege('clm_api', c.conrelid, a.attnum, 'INSERT')
     OR has_column_privilege('clm_api', c.conrelid, a.attnum, 'UPDATE'))
"""
NAMED_BY_THE_API = {
    "user_organizations.user_id", "user_roles.role_id", "user_roles.granted_by", "user_roles.revoked_by",
    "workflow_steps.approver_user_id", "certificate_metadata.owner_user_id",
}  # fmt: skip

MEMBERSHIP = "INSERT INTO user_organizations (organization_id, user_id) VALUES (%(one)s, {})"
GRANT = "INSERT INTO user_roles (organization_id, user_id, role_id, granted_by) VALUES (%(one)s, {}, {}, {})"
REVOKED = "UPDATE user_roles SET revoked_at = now(), revoked_by = {}"
DECISION = """
INSERT INTO workflow_steps
    (organization_id, instance_id, step_number, kind, name, state, approver, approver_user_id, decided_at)
VALUES (%(one)s, (SELECT id FROM workflow_instances), 2, 'approval', 'a', 'approved', 'x', {}, now())
"""
OWNER = "UPDATE certificate_metadata SET owner_user_id = {}"


@dataclass(frozen=True, slots=True)
class Cast:
    """Tenant ONE and what it might name: ids by the names that statements give them."""

    connection: Connection
    ids: dict[str, uuid.UUID]

    def act(self, statement: str) -> int:
        """Do something as the API of tenant ONE, in a savepoint; give the number of rows."""
        with self.connection.transaction():
            return self.connection.execute(statement.encode(), self.ids).rowcount


@pytest.fixture
def cast(core: Connection) -> Iterator[Cast]:
    """Two tenants; members of the first are one of its own, a colleague, a guest, and one who has left it."""
    for organization in (ONE, OTHER):
        fill(core, "core", organization)
    ids = {"one": ONE, "nobody": uuid.uuid4()}
    for name, home in (("colleague", ONE), ("newcomer", ONE), ("guest", OTHER), ("gone", OTHER), ("left", ONE)):
        ids[name] = insert(core, "users", {"organization_id": home, "username": name})
    for name in ("colleague", "guest", "gone", "left"):
        insert(core, "user_organizations", {"organization_id": ONE, "user_id": ids[name]})
    core.execute("UPDATE user_organizations SET left_at = now() WHERE user_id IN (%(gone)s, %(left)s)", ids)
    ids |= {
        "own": _one(core, "SELECT id FROM users WHERE username = 'tenant-1'"),
        "stranger": _one(core, "SELECT id FROM users WHERE username = 'tenant-2'"),
        "foreign_role": _one(core, "SELECT id FROM roles WHERE name = 'tenant_2'"),
        "own_role": _one(core, "SELECT id FROM roles WHERE name = 'tenant_1'"),
        "viewer": _one(core, "SELECT id FROM roles WHERE name = 'viewer' AND is_system"),
        "super_admin": _one(core, "SELECT id FROM roles WHERE name = 'super_admin' AND is_system"),
    }
    unseeded = {"organization_id": SYSTEM_ORGANIZATION, "name": "support", "display_name": "Support"}
    ids["support"] = insert(core, "roles", unseeded)
    core.execute("SET LOCAL ROLE clm_api")
    core.execute("SELECT set_config('clm.organization', %s, true)", [str(ONE)])
    yield Cast(core, ids)
    core.execute("RESET ROLE")


@pytest.mark.parametrize(
    "statement",
    [
        MEMBERSHIP.format("%(stranger)s"),
        MEMBERSHIP.format("%(nobody)s"),
        GRANT.format("%(stranger)s", "%(own_role)s", "NULL"),
        GRANT.format("%(newcomer)s", "%(own_role)s", "NULL"),
        GRANT.format("%(left)s", "%(own_role)s", "NULL"),
        GRANT.format("%(colleague)s", "%(foreign_role)s", "NULL"),
        GRANT.format("%(colleague)s", "%(nobody)s", "NULL"),
        GRANT.format("%(colleague)s", "%(super_admin)s", "NULL"),
        GRANT.format("%(colleague)s", "%(support)s", "NULL"),
        GRANT.format("%(colleague)s", "%(own_role)s", "%(stranger)s"),
        GRANT.format("%(colleague)s", "%(own_role)s", "%(newcomer)s"),
        GRANT.format("%(colleague)s", "%(own_role)s", "%(left)s"),
        REVOKED.format("%(stranger)s"),
        REVOKED.format("%(newcomer)s"),
        REVOKED.format("%(left)s"),
        DECISION.format("%(stranger)s"),
        DECISION.format("%(left)s"),
        OWNER.format("%(stranger)s"),
        OWNER.format("%(nobody)s"),
    ],
)
def test_who_is_no_business_of_a_tenant_is_not_named(cast: Cast, statement: str) -> None:
    """Refused by a policy, and so in the same words whether there is such a row elsewhere or nowhere."""
    with pytest.raises(pg.InsufficientPrivilege, match="row-level security"):
        cast.act(statement)


@pytest.mark.parametrize(
    "statement",
    [
        MEMBERSHIP.format("%(newcomer)s"),
        GRANT.format("%(colleague)s", "%(own_role)s", "%(own)s"),
        GRANT.format("%(guest)s", "%(viewer)s", "%(own)s"),
        GRANT.format("%(own)s", "%(viewer)s", "%(guest)s"),
        GRANT.format("%(colleague)s", "%(viewer)s", "NULL"),
        REVOKED.format("%(colleague)s"),
        REVOKED.format("%(guest)s"),
        DECISION.format("%(colleague)s"),
        DECISION.format("NULL"),
        OWNER.format("%(guest)s"),
        OWNER.format("%(left)s"),
        "UPDATE user_organizations SET left_at = NULL WHERE user_id = %(left)s",
        "UPDATE user_organizations SET left_at = now() WHERE user_id = %(guest)s",
    ],
)
def test_a_tenant_names_its_own(cast: Cast, statement: str) -> None:
    """Its users, its members wherever they are at home, its roles and the seeded ones."""
    assert cast.act(statement) == 1


def test_a_guest_who_left_is_not_brought_back(cast: Cast) -> None:
    """By the installation, who asked both sides; its row was readable only while it was a member."""
    back = "UPDATE user_organizations SET left_at = NULL WHERE user_id = %(gone)s"
    assert cast.act(back) == 0
    seen = {row[0] for row in cast.connection.execute("SELECT username FROM users").fetchall()}
    assert seen == {"tenant-1", "colleague", "newcomer", "left", "guest"}


def test_a_role_that_was_taken_back_is_not_given_back(cast: Cast) -> None:
    """Else the rule for grants would be passed by what was granted once."""
    assert cast.act(REVOKED.format("NULL")) == 1
    assert cast.act("UPDATE user_roles SET revoked_at = NULL") == 0


def test_super_admin_is_granted_in_the_system_organization_alone(cast: Cast) -> None:
    """There it is a role of its own."""
    core = cast.connection
    core.execute("RESET ROLE")
    system = {"organization_id": SYSTEM_ORGANIZATION}
    keeper = insert(core, "users", {**system, "username": "keeper"})
    insert(core, "user_organizations", {**system, "user_id": keeper})
    core.execute("SET LOCAL ROLE clm_api")
    core.execute("SELECT set_config('clm.organization', %s, true)", [str(SYSTEM_ORGANIZATION)])
    insert(core, "user_roles", {**system, "user_id": keeper, "role_id": cast.ids["super_admin"]})


def test_secrets_are_those_of_own_users(cast: Cast) -> None:
    """A guest is seen without what logs it in: that is checked in its home."""
    with pytest.raises(pg.InsufficientPrivilege, match="permission denied"):
        cast.act("SELECT password_hash FROM users")
    assert cast.act("SELECT email FROM users WHERE id = %(guest)s") == 1
    found = {row[0] for row in cast.connection.execute("SELECT id FROM clm_guard.own_users").fetchall()}
    assert found == {cast.ids[name] for name in ("own", "colleague", "newcomer", "left")}


def test_no_reference_is_forgotten(core: Connection) -> None:
    """Every key without an organization that the API writes is tried above."""
    assert {row[0] for row in core.execute(PLAIN).fetchall()} == NAMED_BY_THE_API


def _one(connection: Connection, query: str) -> uuid.UUID:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    found: uuid.UUID = row[0]
    return found
