"""What is published of an object: put together of what was just issued, or of what is on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.lifecycle.publish import Publication
from clm.lifecycle.renewal import Renewal, renewal_time
from clm.pki.chain import CertificateFacts, certificate_facts

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from clm.lifecycle.admission import Admitted
    from clm.lifecycle.authorities import Authorities
    from clm.lifecycle.holds import Hold
    from clm.lifecycle.issue import Issued
    from clm.lifecycle.request import RequestBuilder
    from clm.pki.profile import Issuer
    from clm.resources.records import Owner, Revision
    from clm.storage.secure.history import HistoryStore


class Publications:
    """Puts publications together. `reschedule` moves when a certificate falls due."""

    def __init__(
        self,
        *,
        organization_id: uuid.UUID,
        authorities: Authorities,
        history: HistoryStore,
        requests: RequestBuilder,
        reschedule: Callable[[uuid.UUID, datetime | None], Awaitable[None]],
    ) -> None:
        self._organization_id = organization_id
        self._authorities = authorities
        self._history = history
        self._requests = requests
        self._reschedule = reschedule

    async def of_issued(
        self, owner: Owner, admitted: Admitted, *, issuer: Issuer, issued: Issued, revision: int
    ) -> Publication:
        """Put together what was issued a moment ago, without asking the record for it."""
        facts = issued.facts
        return Publication(
            id=issued.id,
            organization_id=self._organization_id,
            owner=owner,
            revision=revision,
            spec=admitted.spec,
            certificate=issued.certificate,
            facts=facts,
            chain=await self._authorities.chain(issuer.certificate_id, as_of=admitted.issuer_chain),
            issuer_key_id=issuer.key_id,
            issuer_certificate_id=issuer.certificate_id,
            issuer_name=admitted.issuer_name,
            issuer_chain=admitted.issuer_chain,
            policy_name=admitted.policy.name,
            policy_generation=admitted.policy.generation,
            renewal=renewal_of(admitted, owner, facts),
            private_key=issued.private_key,
        )

    async def of_recorded(
        self,
        owner: Owner,
        admitted: Admitted,
        certificate_id: uuid.UUID,
        *,
        now: datetime,
        hold: Hold | None = None,
    ) -> Publication | None:
        """Put together what is on record; None where it does not stand there any more.

        Raises what `RequestBuilder.open_key` raises.
        """
        recorded = await self._history.certificate(certificate_id)
        if recorded is None or recorded.state != "active":
            return None  # somebody ended it since it was looked up, or recorded the intent first, as unwanted
        private_key = (
            await self._requests.open_key(recorded.private_key_id) if recorded.private_key_id is not None else None
        )
        facts = certificate_facts(recorded.certificate)
        renewal = renewal_of(admitted, owner, facts, now=now)
        if renewal.at != recorded.renewal_due_at:
            # The spec, a window that was missed, or the object that has adopted it, says another time.
            await self._reschedule(recorded.id, renewal.at)
        return Publication(
            id=recorded.id,
            organization_id=recorded.organization_id,
            # Also where it is adopted: the inventory knows a certificate by the object that it was issued to.
            owner=recorded.owner,
            revision=recorded.revision,
            spec=admitted.spec,
            certificate=recorded.certificate,
            facts=facts,
            chain=await self._authorities.chain(recorded.issuer_certificate_id, as_of=admitted.issuer_chain),
            issuer_key_id=recorded.issuer_key_id,
            issuer_certificate_id=recorded.issuer_certificate_id,
            issuer_name=admitted.issuer_name,
            issuer_chain=admitted.issuer_chain,
            policy_name=recorded.policy_name,
            policy_generation=recorded.policy_generation,
            renewal=renewal,
            hold=hold,
            private_key=private_key,
        )


def renewal_of(
    admitted: Admitted, owner: Owner, issued: Revision | CertificateFacts, *, now: datetime | None = None
) -> Renewal:
    """When a certificate that was issued to an object falls due by time (see `renewal_time`)."""
    return renewal_time(
        admitted.spec, uid=owner.resource_uid, not_before=issued.not_before, not_after=issued.not_after, now=now
    )
