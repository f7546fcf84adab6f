"""Has the right certificate recorded for an admitted object: plans the one next step and carries it out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

from clm.errors import QuotaExceeded
from clm.lifecycle.failures import issuing
from clm.lifecycle.holds import Hold, failure_hold, told_hold
from clm.lifecycle.plan import Finish, Issue, Publish, State, Wait, is_asked, plan, still_serves
from clm.lifecycle.publications import renewal_of
from clm.lifecycle.quotas import QuotaLine, at_the_latest, quota_of
from clm.lifecycle.renewal import renew_requested_at
from clm.lifecycle.request import Order
from clm.lifecycle.status import Refusal
from clm.pki.profile import Issuer
from clm.resources.audit import AuditRecord
from clm.resources.certificate import issuance_hash
from clm.resources.keys import KeySpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from clm.lifecycle.admission import Admitted
    from clm.lifecycle.ca_keys import CaKeys
    from clm.lifecycle.issue import Issuance
    from clm.lifecycle.publications import Publications
    from clm.lifecycle.publish import Publication
    from clm.lifecycle.storms import StormBreaker
    from clm.pki.chain import CertificateFacts
    from clm.resources.certificate import CertificateSpec
    from clm.resources.quotas import Quota
    from clm.resources.records import HsmKeyRow, Owner, Revision
    from clm.storage.secure.history import HistoryStore

_EXPIRED = Refusal(
    "Expired",
    "the certificate has expired, and spec.renewal.policy is Disabled: ask for another one with `clm renew`, or change"
    " the policy",
)


Objection: TypeAlias = "Callable[[Owner, CertificateSpec, Revision | None], Awaitable[Refusal | None]]"
"""Says why no certificate is to be issued to an object whose newest revision is given."""


class Certifier:
    """Issues, finishes or finds the certificate of one object."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        organization_id: uuid.UUID,
        history: HistoryStore,
        issuance: Issuance,
        ca_keys: CaKeys,
        publications: Publications,
        storms: StormBreaker,
        quotas: QuotaLine,
        objection: Objection,
    ) -> None:
        self._organization_id = organization_id
        self._history = history
        self._issuance = issuance
        self._ca_keys = ca_keys
        self._publications = publications
        self._storms = storms
        self._quotas = quotas
        self._objection = objection

    async def certify(  # noqa: PLR0911 - one an outcome
        self, owner: Owner, body: Mapping[str, Any], admitted: Admitted, *, now: datetime
    ) -> Publication | Refusal | Hold | None:
        """Bring the object one step on: what is to be published, why nothing is, or None for "look again".

        Raises IssuanceFailed, and what else `Issuance.issue` raises.
        """
        newest = await self._history.newest(owner)
        subject_key = await self._ca_keys.key_of(owner, admitted, newest)
        if isinstance(subject_key, Refusal):
            return subject_key
        issuer = admitted.issuer or _self_issuer(subject_key)
        failed = failure_hold(body, now=now)
        state = self._state(owner, body, admitted, issuer, newest, now=now, failed=failed)
        step = plan(state)
        match step:
            case Issue():
                refusal = await self._objection(owner, admitted.spec, newest)
                if refusal is not None:
                    return refusal
                name = (owner.namespace, owner.name)
                allowed = await self._storms.check(step, asked=is_asked(state), name=name, now=now)
                if isinstance(allowed, Hold):
                    return await self._keep(owner, admitted, step, allowed, now=now)
                with issuing():
                    return await self._issue_in_turn(owner, body, admitted, issuer, subject_key, allowed, now=now)
            case Finish():
                with issuing():
                    return await self._finish(owner, admitted, step, now=now)
            case Wait():
                return await self._standing(owner, admitted, state, failed)
            case Publish() if step.recorded.not_after <= now:
                return _EXPIRED
            case Publish():
                publication = await self._publications.of_recorded(
                    owner, admitted, step.recorded.id, now=now, hold=failed
                )
                if step.adopted and publication is not None:
                    await self._record_adoption(owner, body, step.recorded)
                return publication

    async def _issue_in_turn(
        self,
        owner: Owner,
        body: Mapping[str, Any],
        admitted: Admitted,
        issuer: Issuer,
        subject_key: HsmKeyRow | None,
        step: Issue,
        *,
        now: datetime,
    ) -> Publication | Hold | None:
        """Issue, where the Policy's quota has a token for it."""
        quota, uid = quota_of(admitted.policy, owner.namespace, step, now=now), owner.resource_uid
        if quota is None:
            return await self._issue(owner, body, admitted, issuer, subject_key, step, now=now)
        hold = self._quotas.waits(quota, uid, admitted.policy.name, told=told_hold(body))
        if hold is None:
            try:
                issued = await self._issue(owner, body, admitted, issuer, subject_key, step, now=now, quota=quota)
            except QuotaExceeded as error:
                hold = self._quotas.refused(quota, uid, admitted.policy.name, until=error.until)
            else:
                self._quotas.served(quota, uid)
                return issued
        return await self._keep(owner, admitted, step, at_the_latest(hold, step), now=now)

    async def _keep(
        self, owner: Owner, admitted: Admitted, step: Issue, hold: Hold, *, now: datetime
    ) -> Publication | Hold | None:
        """Have what stands stay published while nothing is issued, where it is what the spec asks for."""
        if step.replaces is None or not still_serves(step, now=now):
            return hold
        return await self._publications.of_recorded(owner, admitted, step.replaces.id, now=now, hold=hold)

    async def _standing(
        self, owner: Owner, admitted: Admitted, state: State, hold: Hold | None
    ) -> Publication | Hold | None:
        """Have what stands stay published while a newer revision cannot be finished, where it is still asked for."""
        standing = await self._history.standing(owner) if state.newest and state.newest.state == "pending" else None
        if standing is None or (standing.spec_hash, standing.issuer_key_id) != (state.spec_hash, state.issuer_key_id):
            return hold
        return await self._publications.of_recorded(owner, admitted, standing.id, now=state.now, hold=hold)

    async def finish_unwanted(self, owner: Owner, why: str) -> bool:
        """Bring to its end what was begun for an object that is refused now: an intent is never dropped.

        Tells whether there was something to finish.
        """
        newest = await self._history.newest(owner)
        if newest is None or newest.owner.resource_uid != owner.resource_uid or newest.state != "pending":
            return False
        intent = await self._history.intent(newest.id)
        if intent is None:
            return False
        await self._issuance.finish(intent, secret_name=None, renewal_due=lambda _: None, unwanted=why)
        return True

    def _state(
        self,
        owner: Owner,
        body: Mapping[str, Any],
        admitted: Admitted,
        issuer: Issuer,
        newest: Revision | None,
        *,
        now: datetime,
        failed: Hold | None,
    ) -> State:
        due = renewal_of(admitted, owner, newest, now=now).at if newest is not None else None
        return State(
            now=now,
            resource_uid=owner.resource_uid,
            spec_hash=issuance_hash(admitted.spec),
            issuer_key_id=issuer.key_id,
            newest=newest,
            renewal_due=due,
            renewed_by_time=admitted.spec.renewal.policy != "Disabled",
            renew_requested_at=renew_requested_at(body["metadata"]),
            held_until=failed.until if failed else None,
        )

    async def _issue(  # noqa: PLR0913 - all that is known of the object
        self,
        owner: Owner,
        body: Mapping[str, Any],
        admitted: Admitted,
        issuer: Issuer,
        subject_key: HsmKeyRow | None,
        step: Issue,
        *,
        now: datetime,
        quota: Quota | None = None,
    ) -> Publication | None:
        spec = admitted.spec
        order = Order(
            owner=owner,
            organization_id=self._organization_id,
            spec=spec,
            generation=body["metadata"]["generation"],
            revision=step.revision,
            reason=step.reason,
            policy_uid=uuid.UUID(admitted.policy.uid),
            policy_generation=admitted.policy.generation,
            issuer=issuer,
            publishing=admitted.publishing,
            subject_key_id=subject_key.id if subject_key else None,
            subject_spki=_subject_spki(spec, subject_key),
            reuse_key_id=_reusable_key(admitted, step),
            quota=quota,
        )
        issued = await self._issuance.issue(order, now=now, renewal_due=_renewal_due(admitted, owner))
        if not issued.active:
            return None
        return await self._publications.of_issued(owner, admitted, issuer=issuer, issued=issued, revision=step.revision)

    async def _finish(self, owner: Owner, admitted: Admitted, step: Finish, *, now: datetime) -> Publication | None:
        intent = await self._history.intent(step.pending.id)
        if intent is None:
            return None
        unwanted = None if step.wanted else "the object changed before it was signed"
        await self._issuance.finish(
            intent,
            secret_name=admitted.spec.secret_name,
            renewal_due=_renewal_due(admitted, owner),
            unwanted=unwanted,
        )
        return await self._publications.of_recorded(owner, admitted, intent.id, now=now) if step.wanted else None

    async def _record_adoption(self, owner: Owner, body: Mapping[str, Any], adopted: Revision) -> None:
        """Write down that the object takes its predecessor's certificate; its status tells that it has."""
        if (body.get("status") or {}).get("certificateId") == str(adopted.id):
            return
        await self._issuance.adopt(
            AuditRecord(
                organization_id=self._organization_id,
                action="certificate.adopt",
                object_type="certificate",
                object_id=str(adopted.id),
                details={
                    "object": f"{owner.namespace}/{owner.name}",
                    "uid": str(owner.resource_uid),
                    "formerUid": str(adopted.owner.resource_uid),
                },
            )
        )


def _self_issuer(subject_key: HsmKeyRow | None) -> Issuer:
    assert subject_key is not None and subject_key.spki is not None  # noqa: S101, PT018 - admission demands HSM storage
    return Issuer.self_signed(key_id=subject_key.id, spec=KeySpec.parse(subject_key.algorithm), spki=subject_key.spki)


def _reusable_key(admitted: Admitted, step: Issue) -> uuid.UUID | None:
    """Stored key that `rotationPolicy: Never` keeps, as long as the spec asks for the same algorithm."""
    replaced, wanted = step.replaces, admitted.spec.private_key
    if wanted.storage != "Secret":
        return None  # the key of an earlier revision is not that of the request
    if replaced is None or wanted.rotation_policy != "Never" or replaced.key_algorithm != str(wanted.key):
        return None
    return replaced.private_key_id


def _subject_spki(spec: CertificateSpec, subject_key: HsmKeyRow | None) -> bytes | None:
    """Public key of a key that stays where it is: with whoever made the request, or in the token."""
    if spec.signing_request is not None:
        return spec.signing_request.spki
    return subject_key.spki if subject_key is not None else None


def _renewal_due(admitted: Admitted, owner: Owner) -> Callable[[CertificateFacts], datetime | None]:
    return lambda facts: renewal_of(admitted, owner, facts).at
