"""Issues one certificate.

1. The intent is written down: the exact bytes, the serial, the wrapped key (one commit).
2. The token signs those bytes.
3. The signature is verified, and the certificate recorded (one commit).

A crash after 1 leaves a pending intent: `finish` signs the same bytes. When two workers sign the same bytes, the
first recorded wins and both signings are in the audit log. Nothing is signed that has not been written down.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.errors import KeyNotActive
from clm.hsm.pair import half_of
from clm.hsm.signing import sign
from clm.pki import assemble
from clm.pki.chain import CertificateFacts, certificate_facts
from clm.pki.keys import load_spki
from clm.resources.audit import AuditRecord
from clm.resources.records import CertificateRow

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable
    from datetime import datetime

    from clm.hsm.token import Token
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.request import Order, RequestBuilder
    from clm.pki.keys import PrivateKey, PublicKey
    from clm.resources.keys import KeySpec
    from clm.resources.records import Intent, StoredIntent
    from clm.storage.secure.intents import IntentStore
    from clm.storage.secure.issued import IssuedStore


_LEFT_PENDING = "the intent was left pending: an earlier signature over the same bytes may have been lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A recorded certificate; the key is in memory only right after a fresh issuance.

    Not `active`: somebody else recorded it first, as unwanted or for a revision that was replaced since. It must not
    be published.
    """

    id: uuid.UUID
    certificate: bytes
    active: bool
    facts: CertificateFacts
    private_key: PrivateKey | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToSign:
    id: uuid.UUID
    organization_id: uuid.UUID
    object_name: str
    revision: int
    tbs: bytes
    issuer_key_id: uuid.UUID
    issuer_spec: KeySpec
    issuer_public_key: PublicKey
    secret_name: str | None
    renewal_due: Callable[[CertificateFacts], datetime | None]
    unwanted: str | None
    signed_again: str | None = None


class Issuance:
    """Carries out intents."""

    def __init__(
        self,
        *,
        token: Token,
        requests: RequestBuilder,
        intents: IntentStore,
        issued: IssuedStore,
        boundary: Boundary,
        hsm_deadline_s: float,
    ) -> None:
        self._token = token
        self._requests = requests
        self._intents = intents
        self._issued = issued
        self._boundary = boundary
        self._hsm_deadline_s = hsm_deadline_s

    async def issue(
        self,
        order: Order,
        *,
        now: datetime,
        renewal_due: Callable[[CertificateFacts], datetime | None],
    ) -> Issued:
        """Issue a new revision; earlier certificates of the object become superseded.

        Raises RevisionTaken when another worker was first, LintFailed, SignatureInvalid, KeyMissing, or an
        Unavailable, after which `finish` goes on where this ended.
        """
        prepared = await self._requests.prepare(order, now=now)
        intent = prepared.intent
        self._boundary("issue.before-intent")
        await self._intents.intend(intent, _intent_audit(intent))
        self._boundary("issue.intent-written")
        public_key = order.issuer.public_key
        return await self._sign_and_record(
            _ToSign(
                id=intent.id,
                organization_id=intent.organization_id,
                object_name=f"{intent.owner.namespace}/{intent.owner.name}",
                revision=intent.revision,
                tbs=intent.tbs,
                issuer_key_id=intent.issuer_key_id,
                issuer_spec=order.issuer.spec,
                issuer_public_key=public_key,
                secret_name=order.spec.secret_name,
                renewal_due=renewal_due,
                unwanted=None,
            ),
            prepared.private_key,
        )

    async def adopt(self, audit: AuditRecord) -> None:
        """Record that an object takes its predecessor's certificate. Does nothing where that is on record."""
        await self._issued.adopt(audit)

    async def finish(
        self,
        intent: StoredIntent,
        *,
        secret_name: str | None,
        renewal_due: Callable[[CertificateFacts], datetime | None],
        unwanted: str | None,
    ) -> Issued:
        """Sign and record an intent that a crash or an outage left pending. Safe to repeat.

        `unwanted` says why nobody wants the certificate any more: it is recorded as revoked and supersedes nothing.
        Raises KeyNotActive while the issuer's key is suspended, and what `issue` raises.
        """
        if intent.issuer_state != "active":
            raise KeyNotActive(
                f"the issuer's key is {intent.issuer_state}: {intent.issuer_reason or 'no reason given'}"
            )
        return await self._sign_and_record(
            _ToSign(
                id=intent.id,
                organization_id=intent.organization_id,
                object_name=f"{intent.owner.namespace}/{intent.owner.name}",
                revision=intent.revision,
                tbs=intent.tbs,
                issuer_key_id=intent.issuer_key_id,
                issuer_spec=intent.issuer_algorithm,
                issuer_public_key=load_spki(intent.issuer_spki),
                secret_name=secret_name,
                renewal_due=renewal_due,
                unwanted=unwanted,
                signed_again=_LEFT_PENDING,
            ),
            None,
        )

    async def _sign_and_record(self, work: _ToSign, private_key: PrivateKey | None) -> Issued:
        hash_name = assemble.hash_to_sign(work.tbs, spec=work.issuer_spec)
        signature = await sign(
            self._token,
            work.issuer_key_id,
            spec=work.issuer_spec,
            hash_name=hash_name,
            data=work.tbs,
            is_recorded=half_of(work.issuer_public_key, work.issuer_spec),
            deadline_s=self._hsm_deadline_s,
        )
        self._boundary("issue.signed")
        assemble.verify_signature(work.tbs, signature, public_key=work.issuer_public_key, hash_name=hash_name)
        certificate = assemble.assemble(work.tbs, signature, spec=work.issuer_spec)
        facts = certificate_facts(certificate)
        row = CertificateRow(
            id=work.id,
            organization_id=work.organization_id,
            certificate=certificate,
            fingerprint_sha256=facts.fingerprint_sha256,
            spki_sha256=facts.spki_sha256,
            subject=facts.subject,
            issuer=facts.issuer,
            subject_key_identifier=facts.subject_key_identifier,
            authority_key_identifier=facts.authority_key_identifier,
            path_length=facts.path_length,
            secret_name=work.secret_name,
            renewal_due_at=work.renewal_due(facts),
            unwanted=work.unwanted,
        )
        signed_again = _sign_audit(work, facts, work.signed_again) if work.signed_again else None
        revocation = _revocation_audit(work, facts) if work.unwanted is not None else None
        stands, state = await self._issued.record(
            row, _issue_audit(work, facts), signed_again=signed_again, revocation=revocation
        )
        self._boundary("issue.recorded")
        if stands != certificate:
            facts = certificate_facts(stands)
        return Issued(id=work.id, certificate=stands, active=state == "active", facts=facts, private_key=private_key)


def _intent_audit(intent: Intent) -> AuditRecord:
    return AuditRecord(
        organization_id=intent.organization_id,
        action="certificate.intend",
        object_type="certificate",
        object_id=str(intent.id),
        details={
            "object": f"{intent.owner.namespace}/{intent.owner.name}",
            "revision": intent.revision,
            "reason": intent.reason,
            "policy": intent.policy_name,
            "serial": intent.serial_number.hex(),
            # Which request was certified: in case somebody denies having made it.
            **({"csr": hashlib.sha256(intent.csr).hexdigest()} if intent.csr is not None else {}),
        },
    )


def _sign_audit(work: _ToSign, facts: CertificateFacts, why: str) -> AuditRecord:
    return AuditRecord(
        organization_id=work.organization_id,
        action="certificate.sign",
        object_type="certificate",
        object_id=str(work.id),
        reason=why,
        details=_signed(work, facts),
    )


def _issue_audit(work: _ToSign, facts: CertificateFacts) -> AuditRecord:
    return AuditRecord(
        organization_id=work.organization_id,
        action="certificate.issue" if work.unwanted is None else "certificate.supersede",
        object_type="certificate",
        object_id=str(work.id),
        reason=work.unwanted,
        details=_signed(work, facts),
    )


def _revocation_audit(work: _ToSign, facts: CertificateFacts) -> AuditRecord:
    return AuditRecord(
        organization_id=work.organization_id,
        action="certificate.revoke",
        object_type="certificate",
        object_id=str(work.id),
        reason="superseded",
        details={**_signed(work, facts), "serial": facts.serial_number.hex(), "cause": str(work.unwanted)},
    )


def _signed(work: _ToSign, facts: CertificateFacts) -> dict[str, str | int]:
    return {
        "object": work.object_name,
        "revision": work.revision,
        "issuerKey": str(work.issuer_key_id),
        "fingerprint": facts.fingerprint_sha256.hex(),
    }
