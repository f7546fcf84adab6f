"""Wires what brings one Certificate to what it asks for: admission, issuance, Secret and status, and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.cluster.secrets import SecretStore
from clm.cluster.status import StatusWriter
from clm.lifecycle.admission import Admission
from clm.lifecycle.deliver import Delivery
from clm.lifecycle.ending import Ending
from clm.lifecycle.keystore_passwords import PasswordReader
from clm.lifecycle.known_keys import open_known_keys
from clm.lifecycle.publish import Publisher
from clm.lifecycle.quotas import QuotaLine
from clm.lifecycle.reconcile import Reconciler
from clm.lifecycle.revoke import Revoker
from clm.lifecycle.secret_names import SecretNames
from clm.lifecycle.telling import Teller
from clm.storage.core.revocations import AnnouncementStore
from clm.storage.secure.revocations import RevocationStore
from clm.wiring.issuing import build_certifier
from clm.wiring.process import utc_now, writer

if TYPE_CHECKING:
    from clm.cluster.events import EventRecorder
    from clm.cluster.secret_watch import SecretWatch
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.repair_pace import RepairPace
    from clm.lifecycle.settled import Settled
    from clm.lifecycle.view import ClusterView, Key
    from clm.settings import Settings
    from clm.wiring.issuing import Issuing
    from clm.wiring.outside import Dependencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciling:
    """What reconciles, and the parts of it that others need."""

    reconciler: Reconciler
    admission: Admission
    revoker: Revoker
    quotas: QuotaLine


def build_reconciling(  # noqa: PLR0913 - wired in one place
    settings: Settings,
    dependencies: Dependencies,
    issuing: Issuing,
    *,
    view: ClusterView,
    secret_watch: SecretWatch,
    settled: Settled,
    events: EventRecorder,
    pace: RepairPace[Key],
    boundary: Boundary,
) -> Reconciling:
    """Wire what reconciles one Certificate at a time."""
    client, records = dependencies.client, issuing.records
    secrets, statuses, quotas = SecretStore(client), StatusWriter(client), QuotaLine()
    revocations = RevocationStore(dependencies.secure, **writer())
    revoker = Revoker(
        store=revocations,
        announcements=AnnouncementStore(dependencies.core, **writer()),
        metadata=records.metadata,
        history=records.history,
        outbox=records.outbox,
        boundary=boundary,
        authority_revoked=issuing.authorities.forget,
    )
    admission = Admission(
        view=view,
        authorities=issuing.authorities,
        client=client,
        known_keys=open_known_keys(settings),
        public_url=settings.public_url,
    )
    teller = Teller(
        settings=settings,
        view=view,
        client=client,
        statuses=statuses,
        metadata=records.metadata,
        events=events,
        clock=utc_now,
    )
    publisher = Publisher(
        metadata=records.metadata,
        secrets=secrets,
        history=records.history,
        boundary=boundary,
        may_take=SecretNames(view=view, client=client).may_take,
    )
    reconciler = Reconciler(
        settings=settings,
        view=view,
        settled=settled,
        admission=admission,
        certifier=build_certifier(settings, dependencies, issuing, secrets=secrets, quotas=quotas),
        delivery=Delivery(
            view=view,
            settled=settled,
            secret_watch=secret_watch,
            publisher=publisher,
            statuses=statuses,
            teller=teller,
            outbox=records.outbox,
            pace=pace,
            boundary=boundary,
            clock=utc_now,
        ),
        passwords=PasswordReader(client),
        ending=Ending(
            client=client,
            store=revocations,
            revoker=revoker,
            secrets=secrets,
            secret_watch=secret_watch,
            boundary=boundary,
        ),
        statuses=statuses,
        teller=teller,
        rsa_keys=issuing.rsa_keys,
        pace=pace,
        boundary=boundary,
        clock=utc_now,
    )
    return Reconciling(reconciler=reconciler, admission=admission, revoker=revoker, quotas=quotas)
