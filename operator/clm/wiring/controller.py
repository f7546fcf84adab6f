"""Wires the controller: its own parts, and what the other files here make for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from prometheus_client import CollectorRegistry

from clm.cluster.config_maps import BundleWatch, ConfigMapStore
from clm.cluster.events import EventRecorder
from clm.cluster.secret_watch import SecretWatch
from clm.cluster.status import StatusWriter
from clm.controllers.acts import ControllerActs
from clm.controllers.authority_health import AuthorityHealthController
from clm.controllers.certificates import CertificateController
from clm.controllers.integrity import IntegrityController, IntegrityMetrics
from clm.controllers.key_rotations import KeyRotationController
from clm.controllers.key_states import KeyStateController
from clm.controllers.keystore_passwords import PasswordWatch
from clm.controllers.metrics import Metrics
from clm.controllers.policies import PolicyController
from clm.controllers.queue import WorkQueue
from clm.controllers.renewals import RenewalController
from clm.controllers.trust_bundles import TrustBundleController
from clm.controllers.upkeep import UpkeepController
from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.lifecycle.relay import Relay
from clm.lifecycle.repair_pace import RepairPace
from clm.lifecycle.settled import Settled
from clm.lifecycle.spread import Spread
from clm.lifecycle.view import ClusterView, Key
from clm.storage.core.crls import CrlStore
from clm.storage.records import RecordStore
from clm.storage.secure.key_acts import KeyActStore
from clm.storage.secure.survey import SecureSurvey
from clm.wiring.issuing import build_issuing
from clm.wiring.process import utc_now, writer
from clm.wiring.publishing import build_publishing
from clm.wiring.reconciling import build_reconciling
from clm.wiring.sealing import build_sealing
from clm.wiring.upkeep import build_eraser, build_integrity, build_retention

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.controllers.publishing import PublishingController
    from clm.controllers.sealing import SealingController
    from clm.lifecycle.keyring import Keyring
    from clm.resources.status import HoldKind
    from clm.settings import Settings
    from clm.wiring.outside import Dependencies

_What = TypeVar("_What")


@dataclass(slots=True, kw_only=True)
class Controller:
    """The controller's parts that are started, stopped or asked how they are."""

    settings: Settings
    dependencies: Dependencies
    view: ClusterView
    queue: WorkQueue[Key]
    keyring: Keyring
    certificates: CertificateController
    policies: PolicyController
    trust_bundles: TrustBundleController
    key_rotations: KeyRotationController
    renewals: RenewalController
    secret_watch: SecretWatch
    relay: Relay
    integrity: IntegrityController
    key_states: KeyStateController
    password_watch: PasswordWatch
    authority_health: AuthorityHealthController
    upkeep: UpkeepController
    sealing: SealingController
    publishing: PublishingController
    acts: ControllerActs
    events: EventRecorder
    metrics: Metrics


def build_controller(settings: Settings, dependencies: Dependencies, *, boundary: Boundary = no_boundary) -> Controller:
    """Wire the controller. `boundary` is for the crash tests."""
    secure, core, client, token = dependencies.secure, dependencies.core, dependencies.client, dependencies.token
    view = ClusterView()
    # Some workers are never busy with what can wait.
    queue: WorkQueue[Key] = WorkQueue(
        clock=time.monotonic, background_limit=max(1, settings.reconcile_workers * 3 // 4)
    )
    pace: RepairPace[Key] = RepairPace(clock=time.monotonic)
    metrics = Metrics(CollectorRegistry())
    issuing = build_issuing(settings, dependencies, key_ready=queue.add, boundary=boundary)
    records = issuing.records
    events = EventRecorder(
        client, per_second=settings.events_per_second, instance=writer()["origin"], clock=time.monotonic
    )
    # The watch and the controller know of each other only by these two callables.
    secret_watch = SecretWatch(
        dependencies.watch_client,
        lambda namespace, name: certificates.secret_changed(namespace, name),  # noqa: PLW0108 - made below
    )
    settled = Settled(view=view, secret_watch=secret_watch, clock=utc_now)
    reconciling = build_reconciling(
        settings,
        dependencies,
        issuing,
        view=view,
        secret_watch=secret_watch,
        settled=settled,
        events=events,
        pace=pace,
        boundary=boundary,
    )
    certificates = CertificateController(
        view=view,
        queue=queue,
        reconciler=reconciling.reconciler,
        settled=settled,
        metrics=metrics,
        pace=pace,
        spread=Spread(per_second=settings.chain_updates_per_second, clock=time.monotonic),
        issuer_changed=lambda key: _tell_both(key, policies.issuer_changed, trust_bundles.roots.issuer_changed),
        clock=time.monotonic,
        gone=lambda uid: reconciling.quotas.gone(UUID(uid)),
    )
    trust_bundles = TrustBundleController(
        cluster_id=settings.cluster_id,
        view=view,
        watch=BundleWatch(
            dependencies.watch_client,
            lambda namespace, name: trust_bundles.config_map_changed(namespace, name),  # noqa: PLW0108 - made here
        ),
        store=ConfigMapStore(client),
        authorities=records.authorities,
        reported=lambda name: policies.look_again(name),  # noqa: PLW0108 - made below
        clock=time.monotonic,
        utc_now=utc_now,
    )
    policies = PolicyController(
        view=view,
        client=client,
        issuer=reconciling.admission.issuer,
        changed=partial(_tell_both, first=certificates.policy_changed, second=trust_bundles.policy_changed),
        bundle=trust_bundles.reports.of,
        clock=utc_now,
    )
    _gauges(metrics, view=view, queue=queue, certificates=certificates, policies=policies, trust_bundles=trust_bundles)
    relay = Relay(
        cluster_id=settings.cluster_id,
        view=view,
        client=client,
        history=records.history,
        outbox=records.outbox,
        issuance=issuing.issuance,
        metadata=records.metadata,
        revoker=reconciling.revoker,
        keys=records.keys,
        hsm_keys=issuing.hsm_keys,
        look_closely=certificates.look_closely,
    )
    return Controller(
        settings=settings,
        dependencies=dependencies,
        view=view,
        queue=queue,
        keyring=issuing.keyring,
        certificates=certificates,
        policies=policies,
        trust_bundles=trust_bundles,
        key_rotations=KeyRotationController(client=client, clock=utc_now),
        renewals=RenewalController(
            store=records.renewals,
            schedule=issuing.schedule,
            view=view,
            client=client,
            queue=queue,
            registry=metrics.registry,
            clock=utc_now,
        ),
        secret_watch=secret_watch,
        relay=relay,
        integrity=IntegrityController(
            integrity=build_integrity(
                secure=secure,
                core=core,
                token=token,
                client=client,
                keygen=dependencies.keygen,
                cluster_id=settings.cluster_id,
            ),
            survey=SecureSurvey(secure, cluster_id=settings.cluster_id),
            metrics=IntegrityMetrics(metrics.registry),
        ),
        password_watch=PasswordWatch(
            view=view, client=dependencies.watch_client, changed=certificates.look_closely, clock=time.monotonic
        ),
        key_states=KeyStateController(
            store=KeyActStore(secure, **writer()),
            authorities=issuing.authorities,
            changed=certificates.ca_key_changed,
            registry=metrics.registry,
        ),
        authority_health=AuthorityHealthController(
            view=view,
            store=records.authorities,
            crls=CrlStore(core, **writer()),
            token=token,
            client=client,
            statuses=StatusWriter(client),
            registry=metrics.registry,
            clock=utc_now,
        ),
        upkeep=UpkeepController(
            retention=build_retention(settings, secure, core, boundary=boundary),
            eraser=build_eraser(secure, core, actor="clm-controller", boundary=boundary),
            databases={"secure": secure, "core": core},
            registry=metrics.registry,
        ),
        sealing=build_sealing(
            settings, dependencies, keys=records.keys, hsm_keys=issuing.hsm_keys, registry=metrics.registry
        ),
        publishing=build_publishing(
            settings,
            secure=secure,
            core=core,
            token=token,
            view=view,
            issuing=issuing,
            registry=metrics.registry,
            boundary=boundary,
        ),
        acts=ControllerActs(
            RecordStore(secure, "secure"), token=settings.token_label, rejected_logins=token.rejected_logins
        ),
        events=events,
        metrics=metrics,
    )


def _tell_both(what: _What, first: Callable[[_What], None], second: Callable[[_What], None]) -> None:
    first(what)
    second(what)


def _gauges(
    metrics: Metrics,
    *,
    view: ClusterView,
    queue: WorkQueue[Key],
    certificates: CertificateController,
    policies: PolicyController,
    trust_bundles: TrustBundleController,
) -> None:
    metrics.gauge("clm_certificates", "Certificates known", lambda: len(view))
    metrics.gauge("clm_certificates_unsettled", "Certificates that are not as asked", certificates.unsettled)
    held: tuple[tuple[str, HoldKind, str], ...] = (
        ("clm_issuances_failing", "Failed", "Certificates whose issuance has failed and waits"),
        ("clm_issuances_suspended", "IssuanceSuspended", "Certificates that were issued too often and are suspended"),
        ("clm_issuances_over_quota", "QuotaExceeded", "Certificates that wait for their Policy's quota"),
    )
    for name, kind, what in held:
        metrics.gauge(name, what, partial(view.held, kind))
    metrics.gauge("clm_queue_background", "Keys that wait and may", lambda: queue.in_background)
    metrics.gauge("clm_queue_depth", "Keys that wait or are worked on", lambda: len(queue) + queue.working)
    metrics.gauge("clm_policies_queued", "Policies whose status is to be looked at", policies.queued)
    metrics.gauge("clm_trust_bundles_queued", "Trust bundles that are to be looked at", trust_bundles.queued)
