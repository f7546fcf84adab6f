"""The one INSERT of an audit record, for either database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clm.resources.audit import AuditRecord

COLUMNS = (
    "organization_id, actor_type, actor_id, action, object_type, object_id, outcome, reason, origin,"
    " software_version, details, details_canonical"
)
VALUES = (
    "%(audit_organization_id)s, %(audit_actor_type)s, %(audit_actor_id)s, %(audit_action)s, %(audit_object_type)s,"
    " %(audit_object_id)s, %(audit_outcome)s, %(audit_reason)s, %(audit_origin)s, %(audit_version)s,"
    " convert_from(%(audit_details)b, 'UTF8')::jsonb, %(audit_details)b"
)


ITEM_COLUMNS = (
    "audit_organization_id uuid, audit_actor_type text, audit_actor_id text, audit_action text,"
    " audit_object_type text, audit_object_id text, audit_outcome text, audit_reason text, audit_origin text,"
    " audit_version text, audit_details bytea"
)
"""What an item of a batch has for its audit record (see `storage.batch`)."""
ITEM_VALUES = (
    "audit_organization_id, audit_actor_type, audit_actor_id, audit_action, audit_object_type, audit_object_id,"
    " audit_outcome, audit_reason, audit_origin, audit_version, convert_from(audit_details, 'UTF8')::jsonb,"
    " audit_details"
)


def insert(table: str) -> str:
    """Give the statement that writes one audit record; its parameters are those of `parameters`."""
    return f"INSERT INTO {table} ({COLUMNS}) VALUES ({VALUES})"  # noqa: S608 - constants only


def insert_items(table: str) -> str:
    """Give the statement that writes a batch of audit records."""
    return f"""
    INSERT INTO {table} ({COLUMNS})
    SELECT {ITEM_VALUES}
    FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i ({ITEM_COLUMNS})
    """  # noqa: S608 - constants only


def parameters(record: AuditRecord, *, origin: str, version: str) -> dict[str, Any]:
    """Parameters for VALUES."""
    return {
        "audit_organization_id": record.organization_id,
        "audit_actor_type": record.actor_type,
        "audit_actor_id": record.actor_id,
        "audit_action": record.action,
        "audit_object_type": record.object_type,
        "audit_object_id": record.object_id,
        "audit_outcome": record.outcome,
        "audit_reason": record.reason,
        "audit_origin": origin,
        "audit_version": version,
        "audit_details": record.canonical(),
    }
