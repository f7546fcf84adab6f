"""What the responder reads of clm_core_db, and the one thing that it writes: a request for a certificate of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.resources.revocation import REASON_CODES
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from clm.storage.database import Database

SerialKey = tuple["uuid.UUID", bytes]
"""Issuer's key id and serial number: what a certificate is found by."""
CrlKey = tuple["uuid.UUID", int, int]
"""Issuer's key id, number of partitions, and which of them."""

_CLOCK = "SELECT clock_timestamp()"
_ISSUERS_SEEN = "SELECT issuer_key_id, updated_at FROM clm_status.issuers"
_CRLS_SEEN = "SELECT issuer_key_id, shards, shard, sha256 FROM clm_status.crls"
_REVOKED = """
SELECT issuer_key_id, serial_number, reason_code, revoked_at
FROM clm_status.revocations
WHERE recorded_at > %(since)b
"""
_DELEGATIONS = """
SELECT id, certificate, refused_reason
FROM clm_status.ocsp_responders
WHERE id = ANY(%(ids)b)
"""
_ISSUERS = """
SELECT issuer_key_id, organization_id, name, subject, spki, certificate, base_urls, ocsp_enabled
FROM clm_status.issuers
WHERE issuer_key_id = ANY(%(ids)b)
"""
_CRL = """
SELECT crl, sha256, this_update, next_update
FROM clm_status.crls
WHERE issuer_key_id = %(issuer_key_id)b AND shards = %(shards)b AND shard = %(shard)b
"""
# A certificate is known by the inventory, by its revocation, or by both; either one's word that it is revoked counts.
_STATUSES = """
SELECT wanted.issuer_key_id, wanted.serial_number, m.status = 'revoked' OR r.reason_code IS NOT NULL,
       r.reason_code, m.revocation_reason, coalesce(r.revoked_at, m.revoked_at, m.updated_at)
FROM unnest(%(issuers)b::uuid[], %(serials)b::bytea[]) AS wanted (issuer_key_id, serial_number)
LEFT JOIN public.certificate_metadata m
    ON m.issuer_key_id = wanted.issuer_key_id AND m.serial_number = wanted.serial_number
LEFT JOIN clm_status.revocations r
    ON r.issuer_key_id = wanted.issuer_key_id AND r.serial_number = wanted.serial_number
WHERE m.id IS NOT NULL OR r.reason_code IS NOT NULL
"""
_ASK = """
INSERT INTO clm_status.ocsp_responders (id, issuer_key_id, organization_id, csr, origin)
VALUES (%(id)b, %(issuer_key_id)b, %(organization_id)b, %(csr)b, %(origin)t)
"""

# For what the inventory alone tells of: of attribute certificates as well, whose reason CLM never gives.
_REASONS: Mapping[str, int] = {str(reason): code for reason, code in REASON_CODES.items()} | {"aACompromise": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedIssuer:
    """A CA that publishes. `subject`, `spki` and `certificate` are DER; `base_urls` are what its URLs begin with."""

    key_id: uuid.UUID
    organization_id: uuid.UUID
    name: str
    subject: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    base_urls: tuple[str, ...]
    ocsp_enabled: bool


@dataclass(frozen=True, slots=True)
class PublishedCrl:
    """A CRL as it is served."""

    der: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class RecordedStatus:
    """Status of a certificate that is known. `reason` is a CRLReason; both are None while it is not revoked."""

    revoked_at: datetime | None
    reason: int | None


@dataclass(frozen=True, slots=True)
class DelegationAnswer:
    """What became of a request for a certificate: neither is set while nobody has looked at it."""

    certificate: bytes | None
    refused_reason: str | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the published status shows. `at` is the database's clock before the look."""

    at: datetime
    issuers: dict[uuid.UUID, datetime]
    crls: dict[CrlKey, bytes]
    revoked: dict[SerialKey, RecordedStatus]
    delegations: dict[uuid.UUID, DelegationAnswer]


class CertificateStatusStore:
    """Reads the published status, as the user clm_responder. Raises DatabaseUnavailable and DatabaseUnprepared."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statuses = Coalescer[SerialKey, "RecordedStatus | None"](
            self._read_statuses, flushers=2, limit=500, linger_s=0.002
        )

    async def clock(self) -> datetime:
        """Read the database's clock."""
        async with self._database.connection() as connection:
            (row,) = await (await connection.execute(_CLOCK, binary=True)).fetchall()
            at: datetime = row[0]
            return at

    async def look(self, *, since: datetime, delegations: Sequence[uuid.UUID]) -> Sight:
        """See, in one round trip, which issuers and CRLs there are, and what was revoked since a time of its clock."""
        clock, issuers, crls, revoked, answers = await self._database.together(
            (_CLOCK, {}),
            (_ISSUERS_SEEN, {}),
            (_CRLS_SEEN, {}),
            (_REVOKED, {"since": since}),
            (_DELEGATIONS, {"ids": list(delegations)}),
        )
        return Sight(
            at=clock[0][0],
            issuers=dict(issuers),
            crls={(key_id, shards, shard): sha256 for key_id, shards, shard, sha256 in crls},
            revoked={
                (key_id, serial): RecordedStatus(revoked_at, reason) for key_id, serial, reason, revoked_at in revoked
            },
            delegations={id: DelegationAnswer(certificate, reason) for id, certificate, reason in answers},  # noqa: A001
        )

    async def issuers(self, key_ids: Sequence[uuid.UUID]) -> list[PublishedIssuer]:
        """Read issuers, as far as they are there."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_ISSUERS, {"ids": list(key_ids)}, binary=True)
            rows = await cursor.fetchall()
        return [
            PublishedIssuer(
                key_id=key_id,
                organization_id=organization_id,
                name=name,
                subject=subject,
                spki=spki,
                certificate=certificate,
                base_urls=tuple(base_urls),
                ocsp_enabled=ocsp_enabled,
            )
            for key_id, organization_id, name, subject, spki, certificate, base_urls, ocsp_enabled in rows
        ]

    async def crl(self, key: CrlKey) -> PublishedCrl | None:
        """Read a CRL; None when it is gone."""
        key_id, shards, shard = key
        parameters = {"issuer_key_id": key_id, "shards": shards, "shard": shard}
        async with self._database.connection() as connection:
            row = await (await connection.execute(_CRL, parameters, binary=True)).fetchone()
        return PublishedCrl(*row) if row is not None else None

    async def status(self, key: SerialKey) -> RecordedStatus | None:
        """Read the status of one certificate, together with others that are asked about now; None: never heard of."""
        return await self._statuses.submit(key)

    async def ask(
        self,
        id: uuid.UUID,  # noqa: A002
        *,
        issuer_key_id: uuid.UUID,
        organization_id: uuid.UUID,
        csr: bytes,
        origin: str,
    ) -> None:
        """Ask the controller to certify a key for the OCSP answers of an issuer."""
        parameters = {
            "id": id,
            "issuer_key_id": issuer_key_id,
            "organization_id": organization_id,
            "csr": csr,
            "origin": origin,
        }
        async with self._database.transaction() as connection:
            # This user's transactions only read, unless they say otherwise.
            await connection.execute("SET TRANSACTION READ WRITE")
            await connection.execute(_ASK, parameters)

    async def _read_statuses(self, keys: Sequence[SerialKey]) -> Sequence[RecordedStatus | None]:
        parameters = {"issuers": [key_id for key_id, _ in keys], "serials": [serial for _, serial in keys]}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_STATUSES, parameters, binary=True)).fetchall()
        found: dict[SerialKey, RecordedStatus] = {}
        for key_id, serial, is_revoked, code, reason, revoked_at in rows:
            told = code if code is not None else _REASONS.get(reason or "", 0)
            found[key_id, serial] = RecordedStatus(revoked_at, told) if is_revoked else RecordedStatus(None, None)
        return [found.get(key) for key in keys]
