"""What one revocation writes, in one transaction: its record, the work of announcing it, the fate of the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clm.resources.audit import AuditRecord
from clm.resources.revocation import COMPROMISES, REASON_CODES
from clm.storage import audit_sql, batch

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence

    from clm.resources.revocation import Revocable, Revocation

# In an order, so that two that revoke the same wait for each other. What comes after sees what the other has done.
_LOCK = "SELECT id FROM certificates WHERE id = ANY(%(ids)b) ORDER BY id FOR UPDATE"

_RECORD = f"""
WITH item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        certificate_id uuid, reason_code int, invalidity_date timestamptz, requested_by jsonb, comment text,
        {audit_sql.ITEM_COLUMNS})
), fresh AS (
    INSERT INTO certificate_revocations
        (id, organization_id, certificate_id, issuer_key_id, serial_number, reason_code, revoked_at, invalidity_date,
         requested_by, comment)
    SELECT gen_random_uuid(), c.organization_id, c.id, c.issuer_key_id, c.serial_number, i.reason_code,
           date_trunc('second', now()), i.invalidity_date, i.requested_by, i.comment
    FROM item i JOIN certificates c ON c.id = i.certificate_id
    WHERE c.id = ANY(%(ids)b) AND c.issuer_key_id IS DISTINCT FROM c.subject_key_id
    ON CONFLICT DO NOTHING
    RETURNING certificate_id
), worse AS (
    UPDATE certificate_revocations r
    SET reason_code = i.reason_code, invalidity_date = coalesce(i.invalidity_date, r.invalidity_date),
        published_at = NULL
    FROM item i
    WHERE r.certificate_id = i.certificate_id AND r.certificate_id = ANY(%(ids)b)
      AND i.reason_code IN (1, 2) AND r.reason_code NOT IN (1, 2)
    RETURNING r.certificate_id
), said AS (
    SELECT certificate_id FROM fresh UNION ALL SELECT certificate_id FROM worse
), ended AS (
    UPDATE certificates c SET state = 'revoked' FROM fresh WHERE c.id = fresh.certificate_id AND c.id = ANY(%(ids)b)
), work AS (
    INSERT INTO clm_work.outbox (id, organization_id, next_attempt_at)
    SELECT c.id, c.organization_id, now() + %(patience_s)s * interval '1 second'
    FROM said JOIN certificates c ON c.id = said.certificate_id WHERE c.id = ANY(%(ids)b)
    ON CONFLICT (id) DO UPDATE SET next_attempt_at = excluded.next_attempt_at, attempts = 0
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
SELECT {audit_sql.ITEM_VALUES} FROM item WHERE certificate_id IN (SELECT certificate_id FROM said)
"""  # noqa: S608 - constants only

# A key whose certificate is revoked is used for no other one, whatever rotationPolicy says; unless it has a certificate
# that stands.
_RETIRE_KEYS = """
UPDATE private_keys k SET state = 'superseded'
FROM certificates c
WHERE c.id = ANY(%(ids)b) AND k.id = c.private_key_id AND k.state = 'active'
  AND NOT EXISTS (SELECT FROM certificates o WHERE o.private_key_id = k.id AND o.state = 'active')
"""

_COMPROMISE_KEYS = f"""
WITH lost AS (
    UPDATE private_keys k
    SET state = 'compromised', compromised_at = coalesce(k.compromised_at, now())
    FROM certificates c
    WHERE c.id = ANY(%(ids)b) AND k.id = c.private_key_id AND k.state IN ('active', 'superseded')
      AND c.state = 'revoked'
    RETURNING k.id, k.organization_id, k.spki_sha256
), lost_in_token AS (
    UPDATE encryption_keys k
    SET state = 'compromised', state_reason = %(why)s, compromised_at = now()
    FROM certificates c
    WHERE c.id = ANY(%(ids)b) AND k.id = c.subject_key_id AND k.state IN ('active', 'suspended', 'deactivated')
      AND c.state = 'revoked'
    RETURNING k.id, k.organization_id, k.spki_sha256
), failed AS (
    UPDATE certificate_requests SET state = 'failed', failure_reason = %(why)s
    WHERE issuer_key_id IN (SELECT id FROM lost_in_token) AND state = 'pending'
), every AS (
    SELECT id, organization_id, spki_sha256, 'private-key' AS type FROM lost
    UNION ALL SELECT id, organization_id, spki_sha256, 'key' FROM lost_in_token
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS})
SELECT organization_id, %(actor_type)s, %(actor_id)s, 'key.compromise', type, id::text, 'success', %(why)s, %(origin)s,
       %(version)s, jsonb_build_object('spkiSha256', encode(spki_sha256, 'hex')),
       convert_to('{{"spkiSha256":"' || encode(spki_sha256, 'hex') || '"}}', 'UTF8')
FROM every
"""  # noqa: S608 - constants only


def recording(
    certificates: Sequence[Revocable], revocation: Revocation, *, patience_s: float, audit: Mapping[str, str]
) -> list[tuple[str, dict[str, Any]]]:
    """Statements that record a revocation, each with its parameters. `audit` is the origin and version of the writer.

    The relay sees to the announcement after `patience_s` seconds.
    """
    ids = [certificate.id for certificate in certificates]
    rows = [_row(certificate, revocation, audit=audit) for certificate in certificates]
    statements: list[tuple[str, dict[str, Any]]] = [
        (_LOCK, {"ids": ids}),
        (_RECORD, {"items": batch.items(rows), "ids": ids, "patience_s": patience_s}),
    ]
    if revocation.reason in COMPROMISES:
        statements.append((_COMPROMISE_KEYS, _compromise(ids, revocation, audit=audit)))
    return [*statements, (_RETIRE_KEYS, {"ids": ids})]


def _row(certificate: Revocable, revocation: Revocation, *, audit: Mapping[str, str]) -> dict[str, Any]:
    return {
        "certificate_id": certificate.id,
        "reason_code": REASON_CODES[revocation.reason],
        "invalidity_date": revocation.invalidity_date,
        "requested_by": _asked_by(revocation.actor_id),
        "comment": revocation.comment,
        **audit_sql.parameters(_audit_record(certificate, revocation), **audit),
    }


def _audit_record(certificate: Revocable, revocation: Revocation) -> AuditRecord:
    """Audit record of one revocation."""
    former = {"formerReason": certificate.reason} if certificate.reason is not None else {}
    return AuditRecord(
        organization_id=certificate.organization_id,
        action="certificate.revoke",
        object_type="certificate",
        object_id=str(certificate.id),
        actor_type=revocation.actor_type,
        actor_id=revocation.actor_id,
        reason=revocation.reason,
        details={
            "object": f"{certificate.owner.namespace}/{certificate.owner.name}",
            "revision": certificate.revision,
            "issuer": certificate.issuer_name,
            "issuerKey": str(certificate.issuer_key_id),
            "serial": certificate.serial_number.hex(),
            **former,
            **revocation.details,
        },
    )


def _asked_by(actor_id: str) -> dict[str, str]:
    """Name a person so that the erasure of their data finds it (see `storage.secure.subjects`)."""
    kind, _, pseudonym = actor_id.partition(":")
    return {"user": {"subject": pseudonym}, "account": {"account": pseudonym}}.get(kind, {})


def _compromise(ids: Sequence[uuid.UUID], revocation: Revocation, *, audit: Mapping[str, str]) -> dict[str, Any]:
    return {
        "ids": list(ids),
        "why": f"its certificate was revoked for {revocation.reason}",
        "actor_type": revocation.actor_type,
        "actor_id": revocation.actor_id,
        **audit,
    }
