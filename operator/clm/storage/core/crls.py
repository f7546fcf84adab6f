"""clm_status in clm_core_db: the CAs that publish, and their newest CRLs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from psycopg.rows import class_row

from clm.storage import audit_sql

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from clm.resources.audit import AuditRecord
    from clm.storage.database import Database

_ISSUER = """
issuer_key_id, organization_id, name, subject, spki, certificate, chain, base_urls, crl_enabled, crl_lifetime,
crl_shards, ocsp_enabled
"""

_ISSUERS = f"SELECT {_ISSUER}, updated_at FROM clm_status.issuers"  # noqa: S608 - constants only

# Changed only where something differs: a start writes nothing. A URL that certificates carry stays on the list.
_PUT_ISSUER = f"""
INSERT INTO clm_status.issuers AS known ({_ISSUER})
VALUES
    (%(issuer_key_id)s, %(organization_id)s, %(name)s, %(subject)b, %(spki)b, %(certificate)b, %(chain)b::bytea[],
     ARRAY[%(base_url)s::text], %(crl_enabled)s, %(crl_lifetime)s, %(crl_shards)s, %(ocsp_enabled)s)
ON CONFLICT (issuer_key_id) DO UPDATE
SET name = excluded.name, subject = excluded.subject, certificate = excluded.certificate, chain = excluded.chain,
    base_urls = array_remove(known.base_urls, %(base_url)s::text) || %(base_url)s::text,
    crl_enabled = excluded.crl_enabled, crl_lifetime = excluded.crl_lifetime, crl_shards = excluded.crl_shards,
    ocsp_enabled = excluded.ocsp_enabled, updated_at = clock_timestamp()
WHERE (known.name, known.subject, known.certificate, known.chain, known.crl_enabled, known.crl_lifetime,
       known.crl_shards, known.ocsp_enabled, known.base_urls[cardinality(known.base_urls)])
      IS DISTINCT FROM
      (excluded.name, excluded.subject, excluded.certificate, excluded.chain, excluded.crl_enabled,
       excluded.crl_lifetime, excluded.crl_shards, excluded.ocsp_enabled, %(base_url)s::text)
"""  # noqa: S608 - constants only

_STATE = "issuer_key_id, shards, shard, crl_number, this_update, next_update, entry_count"

_STATES = f"SELECT {_STATE}, needed_until FROM clm_status.crls"  # noqa: S608 - constants only

_STATES_OF = f"{_STATES} WHERE issuer_key_id = %(issuer_key_id)s"

# Compared and set: what somebody else has published meanwhile may list what we have not read.
_PUBLISH = f"""
WITH written AS (
    INSERT INTO clm_status.crls AS known ({_STATE}, organization_id, crl, sha256)
    VALUES
        (%(issuer_key_id)s, %(shards)s, %(shard)s, %(crl_number)s, %(this_update)s, %(next_update)s, %(entry_count)s,
         %(organization_id)s, %(crl)b, %(sha256)b)
    ON CONFLICT (issuer_key_id, shards, shard) DO UPDATE
    SET crl_number = excluded.crl_number, this_update = excluded.this_update, next_update = excluded.next_update,
        entry_count = excluded.entry_count, crl = excluded.crl, sha256 = excluded.sha256,
        published_at = clock_timestamp()
    WHERE known.crl_number = %(expected)s::bigint
    RETURNING issuer_key_id
)
INSERT INTO audit_log ({audit_sql.COLUMNS}) SELECT {audit_sql.VALUES} FROM written
"""  # noqa: S608 - constants only

_NEED_UNTIL = """
UPDATE clm_status.crls SET needed_until = %(needed_until)s
WHERE issuer_key_id = %(issuer_key_id)s AND shards = %(shards)s AND needed_until IS DISTINCT FROM %(needed_until)s
"""

_DROP = "DELETE FROM clm_status.crls WHERE needed_until < %(now)s AND issuer_key_id = ANY(%(issuer_keys)s)"

_DROP_REVOCATIONS = """
DELETE FROM clm_status.revocations WHERE not_after < clock_timestamp() - interval '1 day'
"""

_COUNTS = """
SELECT issuer_key_id, count(*) FROM clm_status.revocations
WHERE issuer_key_id = ANY(%(issuer_keys)b) AND not_after > now()
GROUP BY issuer_key_id
"""

_TOLD = """
SELECT serial_number, reason_code FROM clm_status.revocations
WHERE issuer_key_id = %(issuer_key_id)b AND serial_number = ANY(%(serials)b)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerRow:
    """One CA that publishes. `base_urls` are those that its certificates may carry, the current one last."""

    issuer_key_id: uuid.UUID
    organization_id: uuid.UUID
    name: str
    subject: bytes = field(repr=False)
    spki: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    chain: list[bytes] = field(repr=False)
    base_urls: list[str]
    crl_enabled: bool
    crl_lifetime: timedelta
    crl_shards: int
    ocsp_enabled: bool
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlState:
    """The newest CRL of one partition, without its content."""

    issuer_key_id: uuid.UUID
    shards: int
    shard: int
    crl_number: int
    this_update: datetime
    next_update: datetime
    entry_count: int
    needed_until: datetime | None


class NewCrl(NamedTuple):
    """A signed CRL, and what is known of it once it stands.

    `expected` is the number of the one that it replaces; None where it is the first.
    """

    state: CrlState
    organization_id: uuid.UUID
    crl: bytes
    sha256: bytes
    expected: int | None


class CrlStore:
    """Reads and writes what the responder serves. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database, *, origin: str, version: str) -> None:
        self._database = database
        self._origin = origin
        self._version = version

    async def issuers(self) -> list[IssuerRow]:
        """Every CA that publishes, or ever has."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(IssuerRow), binary=True) as cursor,
        ):
            await cursor.execute(_ISSUERS)
            return await cursor.fetchall()

    async def put_issuer(self, row: IssuerRow) -> bool:
        """Have the responder know a CA as it is now; its current URL is the last of `base_urls`.

        Returns whether anything was changed.
        """
        values = {
            "issuer_key_id": row.issuer_key_id,
            "organization_id": row.organization_id,
            "name": row.name,
            "subject": row.subject,
            "spki": row.spki,
            "certificate": row.certificate,
            "chain": row.chain,
            "base_url": row.base_urls[-1],
            "crl_enabled": row.crl_enabled,
            "crl_lifetime": row.crl_lifetime,
            "crl_shards": row.crl_shards,
            "ocsp_enabled": row.ocsp_enabled,
        }
        async with self._database.connection() as connection:
            return (await connection.execute(_PUT_ISSUER, values)).rowcount == 1

    async def states(self, issuer_key_id: uuid.UUID | None = None) -> list[CrlState]:
        """The newest CRLs of every CA, or of one."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=class_row(CrlState), binary=True) as cursor,
        ):
            query = _STATES if issuer_key_id is None else _STATES_OF
            await cursor.execute(query, {"issuer_key_id": issuer_key_id})
            return await cursor.fetchall()

    async def publish(self, crl: NewCrl, audit: AuditRecord) -> bool:
        """Put a CRL in the place of the one that it replaces, with its record. Durable on return.

        Returns False, and changes nothing, when another one stands there than `expected`.
        """
        audited = audit_sql.parameters(audit, origin=self._origin, version=self._version)
        values = asdict(crl.state) | crl._asdict() | audited
        async with self._database.connection() as connection:
            return (await connection.execute(_PUBLISH, values)).rowcount == 1

    async def need_until(self, issuer_key_id: uuid.UUID, shards: int, moment: datetime | None) -> None:
        """Say until when the CRLs of one scheme are needed; None: as long as the CA publishes."""
        values = {"issuer_key_id": issuer_key_id, "shards": shards, "needed_until": moment}
        async with self._database.connection() as connection:
            await connection.execute(_NEED_UNTIL, values)

    async def drop(self, issuer_keys: Sequence[uuid.UUID], *, now: datetime) -> int:
        """Drop the CRLs of these CAs that no certificate names any more; returns how many went."""
        async with self._database.connection() as connection:
            values = {"issuer_keys": list(issuer_keys), "now": now}
            return (await connection.execute(_DROP, values)).rowcount

    async def revocation_counts(self, issuer_keys: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
        """How many unexpired certificates of each of these CAs OCSP knows as revoked; a CA without any is left out."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_COUNTS, {"issuer_keys": list(issuer_keys)})
            return dict(await cursor.fetchall())

    async def told(self, issuer_key_id: uuid.UUID, serials: Sequence[bytes]) -> dict[bytes, int]:
        """Which of these serial numbers OCSP knows as revoked, and the reason code of each."""
        async with self._database.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(_TOLD, {"issuer_key_id": issuer_key_id, "serials": list(serials)})
            return dict(await cursor.fetchall())

    async def drop_expired_revocations(self) -> int:
        """Drop revocations of certificates that expired a day ago; returns how many went."""
        async with self._database.connection() as connection:
            return (await connection.execute(_DROP_REVOCATIONS)).rowcount
