"""The first durable step of an issuance: the intent, before the signature.

One statement an item and one transaction for all items that wait (see `storage.coalescer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import errors as pg

from clm.errors import KeyNotActive, QuotaExceeded, RevisionTaken
from clm.storage import audit_sql, batch
from clm.storage.coalescer import Coalescer
from clm.storage.secure.quotas import take_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clm.resources.audit import AuditRecord
    from clm.resources.records import Intent
    from clm.storage.database import Connection, Database
    from clm.storage.secure.quotas import Refused

# A write holds the rows of the KEK, of the issuer's key and its certificate: whoever suspends, retires or revokes one
# waits for it, or it for them. So it does with a stored key that is used again, which nobody destroys meanwhile. Where
# one is not active, nothing is written.
_INTEND = f"""
WITH fence AS (
    SELECT id FROM encryption_keys WHERE id = ANY(%(keys)b) AND state = 'active' FOR SHARE
), reused AS (
    SELECT id FROM private_keys WHERE id = ANY(%(reused)b) AND state = 'active' FOR SHARE
), issuing AS (
    SELECT id FROM certificates WHERE id = ANY(%(issuers)b) AND state <> 'revoked' FOR SHARE
), item AS (
    SELECT * FROM json_to_recordset(convert_from(%(items)b, 'UTF8')::json) AS i (
        id uuid, organization_id uuid, cluster_id uuid, resource_uid uuid, namespace text, name text, revision int,
        generation bigint, spec_hash bytea, policy_name text, policy_uid uuid, policy_generation bigint,
        issuer_key_id uuid, issuer_certificate_id uuid, subject_key_id uuid, private_key_id uuid, csr bytea,
        serial_number bytea, tbs bytea, signature_algorithm text, not_before timestamptz, not_after timestamptz,
        common_name text, sans jsonb, is_ca boolean, reason text, key_id uuid, kek_id uuid, key_algorithm text,
        wrapped_dek bytea, ciphertext bytea, key_spki_sha256 bytea, {audit_sql.ITEM_COLUMNS})
    WHERE (SELECT count(*) FROM fence) = cardinality(%(keys)b::uuid[])
      AND (SELECT count(*) FROM issuing) = cardinality(%(issuers)b::uuid[])
      AND (SELECT count(*) FROM reused) = cardinality(%(reused)b::uuid[])
), new_key AS (
    INSERT INTO private_keys
        (id, organization_id, encryption_key_id, algorithm, wrap_algorithm, wrapped_dek, ciphertext,
         spki_sha256, state)
    SELECT key_id, organization_id, kek_id, key_algorithm, 'aes-256-gcm', wrapped_dek, ciphertext, key_spki_sha256,
           'active'
    FROM item WHERE key_id IS NOT NULL
), request AS (
    INSERT INTO certificate_requests
        (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash,
         policy_name, policy_uid, policy_generation, issuer_key_id, issuer_certificate_id, subject_key_id,
         private_key_id, csr, serial_number, tbs, signature_algorithm, not_before, not_after, common_name, sans,
         is_ca, reason, state)
    SELECT id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation, spec_hash,
           policy_name, policy_uid, policy_generation, issuer_key_id, issuer_certificate_id, subject_key_id,
           private_key_id, csr, serial_number, tbs, signature_algorithm, not_before, not_after, common_name, sans,
           is_ca, reason, 'pending'
    FROM item
)
INSERT INTO secure_audit_log ({audit_sql.COLUMNS}) SELECT {audit_sql.ITEM_VALUES} FROM item
"""  # noqa: S608 - constants only


class IntentStore:
    """Writes intents, shared by concurrent issuances."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version
        self._intents = Coalescer[tuple["Intent", "AuditRecord"], None](self._write_intents, flushers=1)
        # Apart from the others: these wait for rows that several of them want, and may be refused.
        self._counted = Coalescer[tuple["Intent", "AuditRecord"], "Refused | None"](self._write_counted, flushers=1)

    async def intend(self, intent: Intent, audit: AuditRecord) -> None:
        """Write down what will be signed. Durable on return.

        Raises RevisionTaken when this revision (or serial) has an intent already, KeyNotActive when the issuer's key or
        the KEK is not active, QuotaExceeded when it has a quota of which nothing is left, DatabaseUnavailable.
        """
        try:
            if intent.quota is None:
                await self._intents.submit((intent, audit))
            elif (refused := await self._counted.submit((intent, audit))) is not None:
                raise QuotaExceeded(refused.until)
        except pg.UniqueViolation as error:
            raise RevisionTaken(f"{intent.owner.namespace}/{intent.owner.name} revision {intent.revision}") from error

    async def _write_intents(self, items: Sequence[tuple[Intent, AuditRecord]]) -> Sequence[None]:
        async with self._database.connection() as connection:
            await self._insert_intents(connection, items)
        return [None] * len(items)

    async def _write_counted(self, items: Sequence[tuple[Intent, AuditRecord]]) -> Sequence[Refused | None]:
        """Write what there is a token for. Where nothing is written, no token is gone."""
        async with self._database.transaction() as connection:
            refused = await take_tokens(connection, [intent for intent, _ in items])
            granted = [item for item, refusal in zip(items, refused, strict=True) if refusal is None]
            if granted:
                await self._insert_intents(connection, granted)
        return refused

    async def _insert_intents(self, connection: Connection, items: Sequence[tuple[Intent, AuditRecord]]) -> None:
        rows = [self._intent_parameters(intent, audit) for intent, audit in items]
        keys = {row[name] for row in rows for name in ("kek_id", "issuer_key_id") if row[name] is not None}
        reused = {row["private_key_id"] for row in rows if row["key_id"] is None and row["private_key_id"] is not None}
        issuers = {row["issuer_certificate_id"] for row in rows if row["issuer_certificate_id"] is not None}
        parameters = {
            "items": batch.items(rows),
            "keys": list(keys),
            "reused": list(reused),
            "issuers": list(issuers),
        }
        written = await connection.execute(_INTEND, parameters)
        if written.rowcount != len(rows):
            raise KeyNotActive(
                "the issuer's key, or the one that wraps, is suspended or past its use (clm keys list),"
                " or the issuer's certificate is revoked"
            )

    def _intent_parameters(self, intent: Intent, audit: AuditRecord) -> dict[str, Any]:
        key = intent.private_key
        return {
            "id": intent.id,
            "organization_id": intent.organization_id,
            "cluster_id": intent.owner.cluster_id,
            "resource_uid": intent.owner.resource_uid,
            "namespace": intent.owner.namespace,
            "name": intent.owner.name,
            "revision": intent.revision,
            "generation": intent.generation,
            "spec_hash": intent.spec_hash,
            "policy_name": intent.policy_name,
            "policy_uid": intent.policy_uid,
            "policy_generation": intent.policy_generation,
            "issuer_key_id": intent.issuer_key_id,
            "issuer_certificate_id": intent.issuer_certificate_id,
            "subject_key_id": intent.subject_key_id,
            "private_key_id": key.id if key else intent.private_key_id,
            "csr": intent.csr,
            "serial_number": intent.serial_number,
            "tbs": intent.tbs,
            "signature_algorithm": intent.signature_algorithm,
            "not_before": intent.not_before,
            "not_after": intent.not_after,
            "common_name": intent.common_name,
            "sans": intent.sans,
            "is_ca": intent.is_ca,
            "reason": intent.reason,
            "key_id": key.id if key else None,
            "kek_id": key.encryption_key_id if key else None,
            "key_algorithm": key.algorithm if key else None,
            "wrapped_dek": key.wrapped_dek if key else None,
            "ciphertext": key.ciphertext if key else None,
            "key_spki_sha256": key.spki_sha256 if key else None,
            **audit_sql.parameters(audit, origin=self._origin, version=self._version),
        }
