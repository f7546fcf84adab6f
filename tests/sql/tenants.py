"""One row of every table for an organization, and which tables these are."""

from __future__ import annotations

import hashlib
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

_PROTECTED = """
SELECT c.oid::regclass::text FROM pg_class c WHERE c.relrowsecurity AND NOT c.relispartition ORDER BY 1
"""

_OF_ORGANIZATIONS = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND (c.oid = to_regclass('public.organizations') OR EXISTS (
    SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'organization_id'))
ORDER BY 1
"""


def protected(connection: Connection) -> list[str]:
    """Every table whose rows belong to organizations, as the catalog has them."""
    return [row[0] for row in connection.execute(_PROTECTED).fetchall()]


def of_organizations(connection: Connection) -> list[str]:
    """The same by their columns, also where row-level security is still to come."""
    return [row[0] for row in connection.execute(_OF_ORGANIZATIONS).fetchall()]


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
    quota = {"cluster_id": organization, "policy_uid": organization, "namespace": "shop", "tokens": 1}
    refilled = {"refilled_at": datetime.now(UTC)}
    _insert_later(connection, "clm_work.issuance_quotas", {**own, **quota, **refilled}, key="policy_uid")
    found = {"token_serial": "0123", "cka_id": organization.bytes, "label": "x", "object_class": "SECRET_KEY"}
    _insert_later(connection, "clm_work.quarantined_objects", {**own, **found})
    _bury(connection, organization)


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
    report = {"started_at": datetime.now(UTC) - timedelta(days=1), "origin": "test", "opened_keys": False}
    found = {"compared": "{}", "finding_count": 0, "findings": "[]"}
    _insert_later(connection, "clm_work.integrity_reports", {**own, **report, **found})
    _fill_status(connection, organization)
    _bury(connection, organization)


def _fill_status(connection: Connection, organization: uuid.UUID) -> None:
    now = datetime.now(UTC)
    own = {"organization_id": organization, "issuer_key_id": uuid.uuid4()}
    flags = {"crl_enabled": True, "crl_lifetime": timedelta(days=1), "crl_shards": 1, "ocsp_enabled": True}
    der = {"subject": os.urandom(20), "spki": os.urandom(91), "certificate": os.urandom(500)}
    issuer = {**own, **flags, **der, "name": "clm-system/root", "base_urls": ["http://127.0.0.1:8089"]}
    _insert_later(connection, "clm_status.issuers", issuer, key="issuer_key_id")
    revoked = {"serial_number": os.urandom(16), "certificate_id": uuid.uuid4(), "reason_code": 1, "revoked_at": now}
    _insert_later(
        connection,
        "clm_status.revocations",
        {**own, **revoked, "not_after": now + timedelta(days=1)},
        key="issuer_key_id",
    )
    crl = os.urandom(400)
    times = {"this_update": now, "next_update": now + timedelta(days=1)}
    content = {"crl_number": 1, "entry_count": 1, "crl": crl, "sha256": hashlib.sha256(crl).digest()}
    _insert_later(
        connection, "clm_status.crls", {**own, **times, **content, "shards": 1, "shard": 0}, key="issuer_key_id"
    )
    asked = {"id": uuid.uuid4(), "csr": os.urandom(200), "origin": "responder-0"}
    _insert_later(connection, "clm_status.ocsp_responders", {**own, **asked})


def _bury(connection: Connection, organization: uuid.UUID) -> None:
    stone = {"organization_id": organization, "subject_id": uuid.uuid4(), "reason": "asked to", "actor_id": "test"}
    _insert_later(connection, "clm_meta.erasure_tombstones", stone)


def _insert_later(connection: Connection, table: str, values: dict[str, Any], *, key: str = "id") -> None:
    """Insert a row where the table is there: it is not in a database of the release before."""
    if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
        insert(connection, table, values, key=key)


_RECORD = {
    "actor_type": "operator", "actor_id": "test", "action": "certificate.issue", "object_type": "certificate",
    "object_id": "x",
}  # fmt: skip
