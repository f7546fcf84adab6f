"""One row of every table for an organization, and what each user of the databases may do with which table."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.sql import rows
from tests.sql.rows import insert

if TYPE_CHECKING:
    import psycopg

    from clm.storage.migration_files import DatabaseName

    Connection = psycopg.Connection[tuple[Any, ...]]

ONE = rows.TENANT
OTHER = rows.OTHER_TENANT
NOBODY = uuid.UUID(int=9)
"""An organization that has no row."""

TABLES: dict[DatabaseName, tuple[str, ...]] = {
    "secure": (
        "encryption_keys", "private_keys", "certificate_requests", "certificates", "certificate_revocations",
        "key_rotation_history", "secure_audit_log", "clm_work.outbox",
    ),
    "core": (
        "organizations", "users", "roles", "user_organizations", "user_roles", "policies", "workflows",
        "workflow_instances", "workflow_steps", "notifications", "api_keys", "sessions", "certificate_metadata",
        "audit_log",
    ),
}  # fmt: skip
"""Every table whose rows belong to organizations, as 001 and 002 made them."""


def fill(connection: Connection, database: DatabaseName, organization: uuid.UUID) -> None:
    """Give an organization one row in every table."""
    (_fill_secure if database == "secure" else _fill_core)(connection, organization)


def _fill_secure(connection: Connection, organization: uuid.UUID) -> None:
    own = {"organization_id": organization}
    key = insert(connection, "encryption_keys", rows.ca_key(**own))
    private_key = insert(connection, "private_keys", rows.private_key(key, **own))
    request = insert(connection, "certificate_requests", rows.request(key, private_key_id=private_key, **own))
    values = rows.certificate(request, key, **own)
    insert(connection, "certificates", values)
    revocation = {"certificate_id": request, "issuer_key_id": key, "serial_number": values["serial_number"]}
    insert(connection, "certificate_revocations", {**own, **revocation})
    insert(connection, "key_rotation_history", {**own, "target_kind": "certificates"})
    insert(connection, "secure_audit_log", {**own, **_RECORD})
    connection.execute("INSERT INTO clm_work.outbox (id, organization_id) VALUES (%s, %s)", [request, organization])


def _fill_core(connection: Connection, organization: uuid.UUID) -> None:
    own = {"organization_id": organization}
    later = {"expires_at": datetime.now(UTC) + timedelta(days=30)}
    name = f"tenant-{organization.int}"
    insert(connection, "organizations", {"id": organization, "name": name, "display_name": name})
    user = insert(connection, "users", {**own, "username": name})
    insert(connection, "user_organizations", {**own, "user_id": user})
    role = insert(connection, "roles", {**own, "name": f"tenant_{organization.int}", "display_name": name})
    insert(connection, "user_roles", {**own, "user_id": user, "role_id": role})
    policy = {"cluster_id": uuid.uuid4(), "resource_uid": uuid.uuid4(), "name": name, "version": 1, "generation": 1}
    insert(connection, "policies", {**own, **policy, "spec": "{}", "spec_hash": os.urandom(32)})
    workflow = insert(connection, "workflows", {**own, "name": name, "kind": "erasure"})
    started = {"workflow_id": workflow, "idempotency_key": name, "object_type": "user", "object_id": str(user)}
    instance = insert(connection, "workflow_instances", {**own, **started, "state": "awaiting-approval"})
    step = {"instance_id": instance, "step_number": 1, "kind": "approval", "name": "approve"}
    insert(connection, "workflow_steps", {**own, **step})
    message = {"kind": "certificate.expiring", "channel": "console", "recipient_user_id": user}
    insert(connection, "notifications", {**own, **message, "deduplication_key": name})
    token = {"user_id": user, "name": name, "prefix": f"clm_{organization.int:08}", "token_hmac": os.urandom(32)}
    insert(connection, "api_keys", {**own, **token, **later, "hmac_key_id": "1"})
    login = {"user_id": user, "token_sha256": os.urandom(32), "auth_method": "oidc"}
    insert(connection, "sessions", {**own, **login, **later, "idle_expires_at": later["expires_at"]})
    insert(connection, "certificate_metadata", rows.metadata(**own))
    insert(connection, "audit_log", {**own, **_RECORD})


_RECORD = {
    "actor_type": "operator", "actor_id": "test", "action": "certificate.issue", "object_type": "certificate",
    "object_id": "x",
}  # fmt: skip
