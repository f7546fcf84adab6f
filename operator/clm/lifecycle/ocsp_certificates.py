"""Certifies the keys of responder replicas, one certificate a replica and CA (RFC 6960 4.2.2.2).

They are issued by the same path as all: intent, signature, record, inventory. Their owner is no object of the cluster,
and its uid, a UUIDv5 of what it is for, is none that Kubernetes gives: see `is_responder`. They are short-lived and not
looked up in turn (id-pkix-ocsp-nocheck).
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from clm.errors import ClmError, InvalidInput, LintFailed, RevisionTaken, Unavailable
from clm.lifecycle.inventory import inventory_entry, listed_as_recorded
from clm.lifecycle.request import Order
from clm.pki.chain import certificate_facts
from clm.pki.keys import spki_der
from clm.pki.responder_key import KEY, requested_key
from clm.resources.certificate import CertificateSpec, PrivateKeySpec
from clm.resources.records import Owner
from clm.resources.subject import Subject
from clm.settings import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from clm.lifecycle.crl_schedule import PublishingCa
    from clm.lifecycle.issue import Issuance
    from clm.storage.core.metadata import MetadataStore
    from clm.storage.core.ocsp_requests import OcspRequest, OcspRequestStore
    from clm.storage.secure.history import HistoryStore
    from clm.storage.secure.outbox import OutboxStore

logger = logging.getLogger(__name__)

POLICY = "ocsp-responder"
"""What stands as the Policy of these certificates in the databases: none admits them, the CA's spec.authority does."""

_BATCH = 20
_MOST_AN_HOUR = 120
"""Certificates for one CA: far more than replicas need. What is above waits, so that a flood costs no more."""
_HOUR_S = 3600.0
_TRIES = 3
_LEFT_OUT_S = 30.0
"""So long nothing is asked of a CA that could not sign, as while its key is suspended."""


def responder_owner(cluster_id: uuid.UUID, namespace: str, request_id: uuid.UUID) -> Owner:
    """Owner of the certificate that answers a request."""
    name = f"ocsp-{request_id}"
    return Owner(cluster_id, uuid.uuid5(NAMESPACE, f"ocsp-responder/{cluster_id}/{name}"), namespace, name)


def is_responder(owner: Owner) -> bool:
    """Tell whether a certificate is of a responder replica, and of no object."""
    return owner.resource_uid == uuid.uuid5(NAMESPACE, f"ocsp-responder/{owner.cluster_id}/{owner.name}")


class OcspCertificates:
    """Answers the requests of responder replicas. `monotonic` is in seconds."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        store: OcspRequestStore,
        issuance: Issuance,
        history: HistoryStore,
        metadata: MetadataStore,
        outbox: OutboxStore,
        cluster_id: uuid.UUID,
        organization_id: uuid.UUID,
        namespace: str,
        lifetime: timedelta,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._issuance = issuance
        self._history = history
        self._metadata = metadata
        self._outbox = outbox
        self._cluster_id = cluster_id
        self._organization_id = organization_id
        self._namespace = namespace
        self._lifetime = lifetime
        self._clock = clock
        self._monotonic = monotonic
        self._issued: defaultdict[uuid.UUID, deque[float]] = defaultdict(deque)
        self._left_out: dict[uuid.UUID, float] = {}
        self._told: dict[uuid.UUID, str] = {}

    async def answer(self, cas: Mapping[uuid.UUID, PublishingCa]) -> int:
        """Answer what waits for these CAs; returns how many were certified.

        Raises an Unavailable, and ends there: it is away for all that follow, too.
        """
        open_to = [key_id for key_id in cas if self._is_open(key_id)]
        if not open_to:
            return 0
        count = 0
        for request in await self._store.waiting(open_to, limit=_BATCH):
            if self._is_open(request.issuer_key_id):
                count += await self._attempt(request, cas[request.issuer_key_id])
        return count

    async def clean(self) -> None:
        """Drop the requests that nobody needs any more. Raises DatabaseUnavailable."""
        await self._store.clean()

    async def _attempt(self, request: OcspRequest, ca: PublishingCa) -> bool:
        try:
            certificate = await self._certificate(request, ca)
        except Unavailable:
            raise
        except (InvalidInput, LintFailed) as error:
            logger.warning("responder %s is not certified by %s: %s", request.origin, ca.row.name, error)
            await self._store.refuse(request.id, str(error)[:500])
            return False
        except ClmError as error:
            self._leave_out(request, ca, str(error))
            return False
        self._told.pop(request.issuer_key_id, None)
        self._issued[request.issuer_key_id].append(self._monotonic())
        await self._store.answer(request.id, certificate, certificate_facts(certificate).not_after)
        logger.info("responder %s may answer for %s", request.origin, ca.row.name)
        return True

    async def _certificate(self, request: OcspRequest, ca: PublishingCa) -> bytes:
        """Issue the certificate; what a crash left of it is brought to its end first, and then counts."""
        spki = spki_der(requested_key(request.csr))
        owner = responder_owner(self._cluster_id, self._namespace, request.id)
        newest = await self._history.newest(owner)
        revision = 1
        if newest is not None and newest.owner.resource_uid == owner.resource_uid:
            intent = await self._history.intent(newest.id) if newest.state == "pending" else None
            if intent is not None:
                await self._issuance.finish(intent, secret_name=None, renewal_due=lambda _: None, unwanted=None)
            if (recorded := await self._published(newest.id)) is not None:
                return recorded
            revision = newest.revision + 1
        if revision > _TRIES:
            raise InvalidInput("csr", "was certified several times, and each certificate was revoked")
        order = self._order(owner, request, ca, spki, revision)
        issued = await self._issuance.issue(order, now=self._clock(), renewal_due=lambda _: None)
        recorded = await self._published(issued.id)
        if recorded is None:
            raise RevisionTaken(f"{owner.namespace}/{owner.name}: somebody else has ended it")
        return recorded

    async def _published(self, certificate_id: uuid.UUID) -> bytes | None:
        """Have the inventory know a recorded certificate; None where it is not recorded, or does not stand."""
        recorded = await self._history.certificate(certificate_id)
        if recorded is None or recorded.state != "active":
            return None
        await self._metadata.put(
            *inventory_entry(listed_as_recorded(recorded), certificate_facts(recorded.certificate))
        )
        await self._outbox.finish(recorded.id)
        return recorded.certificate

    def _order(self, owner: Owner, request: OcspRequest, ca: PublishingCa, spki: bytes, revision: int) -> Order:
        spec = CertificateSpec(
            policy=POLICY,
            secret_name="",
            common_name=f"OCSP responder {request.id.hex[:16]}",
            subject=Subject(),
            duration=self._lifetime,
            usages=("digital signature", "ocsp signing"),
            private_key=PrivateKeySpec(key=KEY),
            secret_labels={},
            secret_annotations={},
        )
        return Order(
            owner=owner,
            organization_id=self._organization_id,
            spec=spec,
            generation=1,
            revision=revision,
            reason="initial",
            policy_uid=None,
            policy_generation=None,
            issuer=ca.issuer,
            subject_spki=spki,
            responder=True,
        )

    def _leave_out(self, request: OcspRequest, ca: PublishingCa, why: str) -> None:
        key_id = request.issuer_key_id
        self._left_out[key_id] = self._monotonic() + _LEFT_OUT_S
        if self._told.get(key_id) != why:
            self._told[key_id] = why
            logger.warning("responder %s is certified by %s later: %s", request.origin, ca.row.name, why)

    def _is_open(self, key_id: uuid.UUID) -> bool:
        issued, now = self._issued[key_id], self._monotonic()
        if now < self._left_out.get(key_id, now):
            return False
        while issued and now - issued[0] > _HOUR_S:
            issued.popleft()
        return len(issued) < _MOST_AN_HOUR
