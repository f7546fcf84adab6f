"""Wires the controller's parts, in the one place that knows them all."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar
from uuid import UUID

from prometheus_client import CollectorRegistry

from clm import __version__
from clm.audit.checkpoint import Origin
from clm.audit.seal import Sealer
from clm.cluster.anchors import AnchorStore
from clm.cluster.client import ApiClient
from clm.cluster.config_maps import BundleWatch, ConfigMapStore
from clm.cluster.events import EventRecorder
from clm.cluster.secret_watch import SecretWatch
from clm.cluster.secrets import SecretStore
from clm.cluster.session import Credentials, open_session
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
from clm.controllers.sealing import SealingController
from clm.controllers.trust_bundles import TrustBundleController
from clm.controllers.upkeep import UpkeepController
from clm.hsm.token import Token
from clm.lifecycle.admission import Admission
from clm.lifecycle.authorities import Authorities
from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.lifecycle.brought_keys import BroughtKeys
from clm.lifecycle.ca_keys import CaKeys
from clm.lifecycle.certify import Certifier
from clm.lifecycle.ending import Ending
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.issue import Issuance
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.keystore_passwords import PasswordReader
from clm.lifecycle.known_keys import open_known_keys
from clm.lifecycle.publications import Publications
from clm.lifecycle.publish import Publisher
from clm.lifecycle.quotas import QuotaLine
from clm.lifecycle.reconcile import Reconciler
from clm.lifecycle.relay import Relay
from clm.lifecycle.repair_pace import RepairPace
from clm.lifecycle.request import RequestBuilder
from clm.lifecycle.revoke import Revoker
from clm.lifecycle.rsa_keys import RsaKeys
from clm.lifecycle.schedule import Schedule
from clm.lifecycle.sealing_key import SealingKey
from clm.lifecycle.secret_names import SecretNames
from clm.lifecycle.spread import Spread
from clm.lifecycle.storms import StormBreaker, StormLimits
from clm.lifecycle.telling import Teller
from clm.lifecycle.view import ClusterView, Key
from clm.pki.tbs import ThrowawayKeys
from clm.publishing import build_publishing
from clm.resources.key_states import Cryptoperiods
from clm.resources.seals import DATABASES, LEDGERS
from clm.storage.core.crls import CrlStore
from clm.storage.core.metadata import MetadataStore
from clm.storage.core.revocations import AnnouncementStore
from clm.storage.database import Database
from clm.storage.records import RecordStore
from clm.storage.seals import SealStore
from clm.storage.secure.authorities import AuthorityStore
from clm.storage.secure.compromised_keys import CompromisedKeyStore
from clm.storage.secure.history import HistoryStore
from clm.storage.secure.intents import IntentStore
from clm.storage.secure.issued import IssuedStore
from clm.storage.secure.key_acts import KeyActStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.outbox import OutboxStore
from clm.storage.secure.private_keys import PrivateKeyStore
from clm.storage.secure.renewals import RenewalStore
from clm.storage.secure.revocations import RevocationStore
from clm.storage.secure.sealing_keys import sealing_keys
from clm.storage.secure.survey import SecureSurvey
from clm.upkeep import build_eraser, build_integrity, build_retention

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.controllers.publishing import PublishingController
    from clm.resources.status import HoldKind
    from clm.settings import Settings

_What = TypeVar("_What")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, kw_only=True)
class Dependencies:
    """What lies outside the process: the token, the two databases, the API server."""

    token: Token
    secure: Database
    core: Database
    client: ApiClient
    watch_client: ApiClient
    keygen: ThreadPoolExecutor

    async def close(self) -> None:
        """Let go of everything; the first error wins."""
        self.keygen.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(
            self.client.close(), self.watch_client.close(), self.secure.close(), self.core.close(), self.token.close()
        )


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


def open_dependencies(settings: Settings, credentials: Credentials) -> Dependencies:
    """Make the clients of everything outside; none of them connects yet."""
    return Dependencies(
        token=open_token(settings),
        secure=open_database(settings, "secure"),
        core=open_database(settings, "core"),
        client=ApiClient(open_session(credentials, connections=settings.api_connections), credentials.server),
        watch_client=ApiClient(open_session(credentials, connections=4), credentials.server),
        keygen=ThreadPoolExecutor(settings.keygen_workers, thread_name_prefix="keygen"),
    )


def open_token(settings: Settings) -> Token:
    """Make the client of the token; it is not started."""
    return Token(
        module_path=settings.pkcs11_module,
        token_label=settings.token_label,
        token_serial=settings.token_serial,
        pin_file=settings.token_pin_file,
        workers=settings.hsm_workers,
    )


def open_database(settings: Settings, name: Literal["secure", "core"]) -> Database:
    """Make the pool of one of the two databases; it does not connect yet."""
    dsn = settings.secure_dsn if name == "secure" else settings.core_dsn
    return Database(dsn, name=f"clm_{name}_db", connections=settings.database_connections)


def build_controller(settings: Settings, dependencies: Dependencies, *, boundary: Boundary = no_boundary) -> Controller:
    """Wire the controller. `boundary` is for the crash tests."""
    origin = socket.gethostname()
    audit = {"origin": origin, "version": __version__}
    secure, core, client, token = dependencies.secure, dependencies.core, dependencies.client, dependencies.token
    view = ClusterView()
    # Some workers are never busy with what can wait.
    queue: WorkQueue[Key] = WorkQueue(
        clock=time.monotonic, background_limit=max(1, settings.reconcile_workers * 3 // 4)
    )
    pace: RepairPace[Key] = RepairPace(clock=time.monotonic)
    metrics = Metrics(CollectorRegistry())
    keys = KeyStore(secure, **audit)
    hsm_keys = HsmKeys(token=token, store=keys, boundary=boundary, periods=_periods(settings))
    renewals = RenewalStore(secure, cluster_id=settings.cluster_id)
    keyring = Keyring(keys=hsm_keys, store=keys)
    authority_store = AuthorityStore(secure)
    authorities = Authorities(token=token, store=authority_store)
    history = HistoryStore(secure, cluster_id=settings.cluster_id)
    metadata = MetadataStore(core, **audit)
    schedule = Schedule(renewals=renewals, metadata=metadata)
    outbox = OutboxStore(secure, cluster_id=settings.cluster_id)
    rsa_keys = RsaKeys(dependencies.keygen, ready=queue.add)
    throwaway = ThrowawayKeys()
    requests = RequestBuilder(
        token=token,
        keyring=keyring,
        private_keys=PrivateKeyStore(secure),
        throwaway=throwaway,
        rsa_keys=rsa_keys,
    )
    issuance = Issuance(
        token=token,
        requests=requests,
        intents=IntentStore(secure, **audit),
        issued=IssuedStore(secure, **audit),
        boundary=boundary,
        hsm_deadline_s=settings.hsm_deadline_s,
    )
    secrets = SecretStore(client)
    quotas = QuotaLine()
    certifier = Certifier(
        organization_id=settings.organization_id,
        history=history,
        issuance=issuance,
        ca_keys=CaKeys(organization_id=settings.organization_id, hsm_keys=hsm_keys, keys=keys),
        publications=Publications(
            organization_id=settings.organization_id,
            authorities=authorities,
            history=history,
            requests=requests,
            reschedule=schedule.move,
        ),
        quotas=quotas,
        storms=StormBreaker(history, _storm_limits(settings)),
        objection=BroughtKeys(secrets=secrets, compromised=CompromisedKeyStore(secure)).objection,
    )
    events = EventRecorder(client, per_second=settings.events_per_second, instance=origin, clock=time.monotonic)
    # The watch and the controller know of each other only by these two callables.
    secret_watch = SecretWatch(
        dependencies.watch_client,
        lambda namespace, name: certificates.secret_changed(namespace, name),  # noqa: PLW0108 - made below
    )
    revocations = RevocationStore(secure, **audit)
    revoker = Revoker(
        store=revocations,
        announcements=AnnouncementStore(core, **audit),
        metadata=metadata,
        history=history,
        outbox=outbox,
        boundary=boundary,
        authority_revoked=authorities.forget,
    )
    admission = Admission(
        view=view,
        authorities=authorities,
        client=client,
        known_keys=open_known_keys(settings),
        public_url=settings.public_url,
    )
    statuses = StatusWriter(client)
    reconciler = Reconciler(
        settings=settings,
        view=view,
        secret_watch=secret_watch,
        admission=admission,
        certifier=certifier,
        publisher=Publisher(
            metadata=metadata,
            secrets=secrets,
            history=history,
            boundary=boundary,
            may_take=SecretNames(view=view, client=client).may_take,
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
        teller=Teller(
            settings=settings,
            view=view,
            client=client,
            statuses=statuses,
            metadata=metadata,
            events=events,
            clock=_utc_now,
        ),
        outbox=outbox,
        rsa_keys=rsa_keys,
        pace=pace,
        boundary=boundary,
        clock=_utc_now,
    )
    certificates = CertificateController(
        view=view,
        queue=queue,
        reconciler=reconciler,
        metrics=metrics,
        pace=pace,
        spread=Spread(per_second=settings.chain_updates_per_second, clock=time.monotonic),
        issuer_changed=lambda key: _tell_both(key, policies.issuer_changed, trust_bundles.roots.issuer_changed),
        clock=time.monotonic,
        gone=lambda uid: quotas.gone(UUID(uid)),
    )
    trust_bundles = TrustBundleController(
        cluster_id=settings.cluster_id,
        view=view,
        watch=BundleWatch(
            dependencies.watch_client,
            lambda namespace, name: trust_bundles.config_map_changed(namespace, name),  # noqa: PLW0108 - made here
        ),
        store=ConfigMapStore(client),
        authorities=authority_store,
        reported=lambda name: policies.look_again(name),  # noqa: PLW0108 - made below
        clock=time.monotonic,
        utc_now=_utc_now,
    )
    policies = PolicyController(
        view=view,
        client=client,
        issuer=admission.issuer,
        changed=partial(_tell_both, first=certificates.policy_changed, second=trust_bundles.policy_changed),
        bundle=trust_bundles.reports.of,
        clock=_utc_now,
    )
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
    relay = Relay(
        cluster_id=settings.cluster_id,
        view=view,
        client=client,
        history=history,
        outbox=outbox,
        issuance=issuance,
        metadata=metadata,
        revoker=revoker,
        keys=keys,
        hsm_keys=hsm_keys,
        look_closely=certificates.look_closely,
    )
    return Controller(
        settings=settings,
        dependencies=dependencies,
        view=view,
        queue=queue,
        keyring=keyring,
        certificates=certificates,
        policies=policies,
        trust_bundles=trust_bundles,
        key_rotations=KeyRotationController(client=client, clock=_utc_now),
        renewals=RenewalController(
            store=renewals,
            schedule=schedule,
            view=view,
            client=client,
            queue=queue,
            registry=metrics.registry,
            clock=_utc_now,
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
            store=KeyActStore(secure, **audit),
            authorities=authorities,
            changed=certificates.ca_key_changed,
            registry=metrics.registry,
        ),
        authority_health=AuthorityHealthController(
            view=view,
            store=authority_store,
            crls=CrlStore(core, **audit),
            token=token,
            client=client,
            statuses=StatusWriter(client),
            registry=metrics.registry,
            clock=_utc_now,
        ),
        upkeep=UpkeepController(
            retention=build_retention(settings, secure, core, boundary=boundary),
            eraser=build_eraser(secure, core, actor="clm-controller", boundary=boundary),
            databases={"secure": secure, "core": core},
            registry=metrics.registry,
        ),
        sealing=_build_sealing(settings, dependencies, keys=keys, hsm_keys=hsm_keys, metrics=metrics),
        publishing=build_publishing(
            settings,
            secure=secure,
            core=core,
            token=token,
            view=view,
            authorities=authorities,
            issuance=issuance,
            history=history,
            metadata=metadata,
            outbox=outbox,
            throwaway=throwaway,
            registry=metrics.registry,
            boundary=boundary,
        ),
        acts=ControllerActs(
            RecordStore(secure, "secure"), token=settings.token_label, rejected_logins=token.rejected_logins
        ),
        events=events,
        metrics=metrics,
    )


def _storm_limits(settings: Settings) -> StormLimits:
    return StormLimits(
        issuances=settings.storm_issuances,
        window=timedelta(seconds=settings.storm_window_s),
        pause=timedelta(seconds=settings.storm_pause_s),
    )


def _tell_both(what: _What, first: Callable[[_What], None], second: Callable[[_What], None]) -> None:
    first(what)
    second(what)


def _periods(settings: Settings) -> Cryptoperiods:
    return Cryptoperiods(
        ca_signing=timedelta(days=settings.cryptoperiod_ca_signing_days),
        key_encryption=timedelta(days=settings.cryptoperiod_key_encryption_days),
        audit_sealing=timedelta(days=settings.cryptoperiod_audit_sealing_days),
    )


def _build_sealing(
    settings: Settings, dependencies: Dependencies, *, keys: KeyStore, hsm_keys: HsmKeys, metrics: Metrics
) -> SealingController:
    databases = {"secure": dependencies.secure, "core": dependencies.core}
    logs = [
        (
            Sealer(
                origin=Origin(settings.cluster_id, DATABASES[ledger]),
                store=SealStore(databases[ledger], ledger),
                keys=partial(sealing_keys, dependencies.secure),
                clock=_utc_now,
            ),
            RecordStore(databases[ledger], ledger),
        )
        for ledger in LEDGERS
    ]
    return SealingController(
        logs=logs,
        signer=SealingKey(token=dependencies.token, keys=hsm_keys, store=keys).signer,
        keys=partial(sealing_keys, dependencies.secure),
        anchors=AnchorStore(dependencies.client, namespace=settings.namespace),
        anchor_file=settings.audit_anchor_file,
        anchor_interval_s=settings.audit_anchor_interval_s,
        registry=metrics.registry,
    )
