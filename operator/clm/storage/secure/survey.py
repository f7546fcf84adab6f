"""Reads clm_secure_db whole, page by page, for the comparison of the three worlds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clm.storage.survey import Survey

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Collection, Sequence

    from clm.resources.revocation import RevocationMark

PAGE = 1000

# The digest is that of the stored octets: the column fingerprint_sha256 could have been changed with the inventory.
_COLUMNS = """
id, namespace, name, revision, state, private_key_id, sha256(certificate),
not_after < now() AND EXISTS (
    SELECT FROM private_keys k WHERE k.id = private_key_id AND k.state = 'destroyed') AS key_went
"""

# A UUID is compared as a number: the nil UUID comes before every other.
_CERTIFICATES = f"""
SELECT {_COLUMNS} FROM certificates
WHERE deleted_at IS NULL AND cluster_id = %(cluster_id)b AND id > %(after)b ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - constants only

_SOME = f"SELECT {_COLUMNS} FROM certificates WHERE deleted_at IS NULL AND id = ANY(%(ids)b)"  # noqa: S608

_OCTETS = "SELECT certificate FROM certificates WHERE id = %(id)b"

_PENDING = """
SELECT id, namespace, name, revision FROM certificate_requests
WHERE cluster_id = %(cluster_id)b AND state = 'pending' AND created_at < now() - interval '60 seconds'
ORDER BY created_at
"""

_UNRECORDED = """
SELECT r.id, r.namespace, r.name, r.revision
FROM certificate_requests r LEFT JOIN certificates c ON c.request_id = r.id
WHERE r.cluster_id = %(cluster_id)b AND r.state IN ('issued', 'superseded') AND c.id IS NULL
"""

_REPUBLISH = """
WITH again AS (
    INSERT INTO clm_work.outbox (id, organization_id)
    SELECT id, organization_id FROM certificates WHERE id = ANY(%(ids)b)
    ON CONFLICT (id) DO UPDATE SET next_attempt_at = now(), attempts = 0
    RETURNING id, organization_id
)
INSERT INTO secure_audit_log (organization_id, actor_type, actor_id, action, object_type, object_id, outcome, reason)
SELECT organization_id, 'operator', 'clm-check', 'integrity.repair', 'certificate', id::text, 'success',
       'published again'
FROM again
"""

_OUTBOX = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(o.created_at)), 0)
FROM clm_work.outbox o JOIN certificates c ON c.id = o.id
WHERE c.cluster_id = %(cluster_id)b
"""

_ON_THEIR_WAY = """
SELECT id FROM clm_work.outbox WHERE id = ANY(%(ids)b) AND created_at > now() - interval '60 seconds'
"""

_UNKNOWN_KEYS = """
SELECT wanted.id FROM unnest(%(ids)b::uuid[]) AS wanted (id)
LEFT JOIN encryption_keys k ON k.id = wanted.id WHERE k.id IS NULL
"""

_APPROVALS = """
SELECT approval_instance_id FROM certificate_requests WHERE approval_instance_id IS NOT NULL
UNION SELECT approval_instance_id FROM certificate_revocations WHERE approval_instance_id IS NOT NULL
UNION SELECT approval_instance_id FROM key_rotation_history WHERE approval_instance_id IS NOT NULL
"""

_MARK = "r.certificate_id, r.issuer_key_id, r.serial_number, r.reason_code, c.not_after <= now()"
_REVOCATIONS = f"""
SELECT {_MARK} FROM certificate_revocations r JOIN certificates c ON c.id = r.certificate_id
WHERE c.cluster_id = %(cluster_id)b AND c.not_after > now()
  AND (r.issuer_key_id, r.serial_number) > (%(issuer_key_id)b, %(serial_number)b)
ORDER BY r.issuer_key_id, r.serial_number LIMIT %(limit)s
"""  # noqa: S608 - constants only

_REVOCATIONS_OF = f"""
SELECT {_MARK} FROM certificate_revocations r JOIN certificates c ON c.id = r.certificate_id
WHERE r.certificate_id = ANY(%(ids)b)
"""  # noqa: S608 - constants only

_HALF_REVOKED = """
SELECT c.id, c.namespace, c.name, c.revision
FROM certificates c LEFT JOIN certificate_revocations r ON r.certificate_id = c.id
WHERE c.cluster_id = %(cluster_id)b AND (c.state = 'revoked') <> (r.id IS NOT NULL)
"""

_ERASED = "SELECT subject_id FROM clm_meta.erasure_tombstones"


class SurveyedCertificate(NamedTuple):
    """One recorded certificate; `digest` is the SHA-256 of its DER.

    `key_went`: it has expired, and its private key was destroyed since, as retention does.
    """

    id: uuid.UUID
    namespace: str
    name: str
    revision: int
    state: str
    private_key_id: uuid.UUID | None
    digest: bytes
    key_went: bool


class UnfinishedRequest(NamedTuple):
    """A request that has no certificate where it should have one."""

    id: uuid.UUID
    namespace: str
    name: str
    revision: int


class SecureSurvey(Survey):
    """Reads what is one cluster's, and the one write that repairs: putting certificates back into the outbox.

    Clusters may share the databases: what another is in the middle of is not this one's finding. Ids are looked up
    wherever they are from.
    """

    def certificates(self) -> AsyncIterator[list[SurveyedCertificate]]:
        """Iterate over every certificate in order of id, a page at a time."""
        return self._pages_by_id(_CERTIFICATES, SurveyedCertificate, size=PAGE)

    async def some(self, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, SurveyedCertificate]:
        """Certificates of these ids, as far as they are recorded."""
        rows = await self._rows(_SOME, ids=list(ids))
        return {row[0]: SurveyedCertificate(*row) for row in rows}

    def revocations(self) -> AsyncIterator[list[RevocationMark]]:
        """Iterate over the revocations of unexpired certificates by issuer and serial number, a page at a time."""
        return self._marks(_REVOCATIONS, size=PAGE)

    async def revocations_of(self, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, RevocationMark]:
        """Revocations of these certificates, expired or not, as far as there are any."""
        return await self._marks_of(_REVOCATIONS_OF, ids)

    async def half_revoked(self) -> list[UnfinishedRequest]:
        """Certificates of which state and revocations say different things: what must never be."""
        return [UnfinishedRequest(*row) for row in await self._rows(_HALF_REVOKED)]

    async def octets(self, certificate_id: uuid.UUID) -> bytes:
        """DER of a recorded certificate."""
        return bytes((await self._rows(_OCTETS, id=certificate_id))[0][0])

    async def pending(self) -> list[UnfinishedRequest]:
        """Intents that have waited for more than a minute."""
        return [UnfinishedRequest(*row) for row in await self._rows(_PENDING)]

    async def unrecorded(self) -> list[UnfinishedRequest]:
        """Requests that count as issued and have no certificate: what must never be."""
        return [UnfinishedRequest(*row) for row in await self._rows(_UNRECORDED)]

    async def outbox(self) -> tuple[int, float]:
        """How many certificates wait to be published, and for how many seconds the oldest has."""
        waiting, oldest_s = (await self._rows(_OUTBOX))[0]
        return int(waiting), float(oldest_s)

    async def on_their_way(self, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Which of these certificates are being published right now."""
        return {row[0] for row in await self._rows(_ON_THEIR_WAY, ids=list(ids))}

    async def unknown_keys(self, ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
        """Which of these ids are no key's."""
        return [row[0] for row in await self._rows(_UNKNOWN_KEYS, ids=list(ids))]

    async def approvals(self) -> list[uuid.UUID]:
        """Approval workflows of clm_core_db that requests, revocations and rotations refer to."""
        return [row[0] for row in await self._rows(_APPROVALS)]

    async def erased_subjects(self) -> list[uuid.UUID]:
        """Persons whose data were erased."""
        return [row[0] for row in await self._rows(_ERASED)]

    async def republish(self, ids: Sequence[uuid.UUID]) -> None:
        """Have the controller publish these certificates again: inventory, Secret and status."""
        async with self._database.connection() as connection:
            await connection.execute(_REPUBLISH, {"ids": list(ids)})
