"""Wires what keeps the responder's data up to date: CRLs, and the certificates of its keys."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.controllers.publishing import PublishingController, PublishingMetrics
from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.lifecycle.crl_rounds import CrlRounds
from clm.lifecycle.crls import CrlPublisher
from clm.lifecycle.ocsp_certificates import OcspCertificates
from clm.lifecycle.publishing_cas import PublishingCas
from clm.storage.core.crls import CrlStore
from clm.storage.core.ocsp_requests import OcspRequestStore
from clm.storage.secure.revoked import RevokedStore
from clm.wiring.process import utc_now, writer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from clm.hsm.token import Token
    from clm.lifecycle.view import ClusterView
    from clm.settings import Settings
    from clm.storage.database import Database
    from clm.wiring.issuing import Issuing


def build_publishing(  # noqa: PLR0913 - wired in one place
    settings: Settings,
    *,
    secure: Database,
    core: Database,
    token: Token,
    view: ClusterView,
    issuing: Issuing,
    registry: CollectorRegistry,
    boundary: Boundary = no_boundary,
) -> PublishingController:
    """Wire the rounds of one cluster's controller."""
    store = CrlStore(core, **writer())
    revoked = RevokedStore(secure, cluster_id=settings.cluster_id)
    publisher = CrlPublisher(
        token=token,
        revoked=revoked,
        store=store,
        throwaway=issuing.throwaway,
        boundary=boundary,
        hsm_deadline_s=settings.hsm_deadline_s,
        clock=utc_now,
    )
    return PublishingController(
        cas=PublishingCas(
            view=view,
            authorities=issuing.authorities,
            store=store,
            organization_id=settings.organization_id,
            public_url=settings.public_url,
            clock=time.monotonic,
        ),
        rounds=CrlRounds(store=store, revoked=revoked, publisher=publisher, clock=utc_now),
        responders=OcspCertificates(
            store=OcspRequestStore(core),
            issuance=issuing.issuance,
            history=issuing.records.history,
            metadata=issuing.records.metadata,
            outbox=issuing.records.outbox,
            cluster_id=settings.cluster_id,
            organization_id=settings.organization_id,
            namespace=settings.namespace,
            lifetime=timedelta(hours=settings.ocsp_certificate_hours),
            clock=utc_now,
            monotonic=time.monotonic,
        ),
        store=store,
        metrics=PublishingMetrics(registry),
        clock=utc_now,
    )
