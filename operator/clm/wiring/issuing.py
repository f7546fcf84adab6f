"""Wires what issues certificates: keys in the token, records of what is issued, and what decides on the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.lifecycle.authorities import Authorities
from clm.lifecycle.brought_keys import BroughtKeys
from clm.lifecycle.ca_keys import CaKeys
from clm.lifecycle.certify import Certifier
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.issue import Issuance
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.publications import Publications
from clm.lifecycle.request import RequestBuilder
from clm.lifecycle.rsa_keys import RsaKeys
from clm.lifecycle.schedule import Schedule
from clm.lifecycle.storms import StormBreaker, StormLimits
from clm.pki.tbs import ThrowawayKeys
from clm.resources.key_states import Cryptoperiods
from clm.storage.core.metadata import MetadataStore
from clm.storage.secure.authorities import AuthorityStore
from clm.storage.secure.compromised_keys import CompromisedKeyStore
from clm.storage.secure.history import HistoryStore
from clm.storage.secure.intents import IntentStore
from clm.storage.secure.issued import IssuedStore
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.outbox import OutboxStore
from clm.storage.secure.private_keys import PrivateKeyStore
from clm.storage.secure.renewals import RenewalStore
from clm.wiring.process import writer

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.cluster.secrets import SecretStore
    from clm.lifecycle.boundaries import Boundary
    from clm.lifecycle.quotas import QuotaLine
    from clm.lifecycle.view import Key
    from clm.settings import Settings
    from clm.wiring.outside import Dependencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What both databases know of certificates. Shared, since each gathers what many ask for into one statement."""

    keys: KeyStore
    authorities: AuthorityStore
    history: HistoryStore
    outbox: OutboxStore
    renewals: RenewalStore
    metadata: MetadataStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuing:
    """What issues, and what it is made of, for those who need a part of it."""

    records: Records
    hsm_keys: HsmKeys
    keyring: Keyring
    authorities: Authorities
    schedule: Schedule
    rsa_keys: RsaKeys
    throwaway: ThrowawayKeys
    requests: RequestBuilder
    issuance: Issuance


def build_issuing(
    settings: Settings, dependencies: Dependencies, *, key_ready: Callable[[Key], None], boundary: Boundary
) -> Issuing:
    """Wire what issues. `key_ready` is called for an object whose RSA key is there."""
    token, records = dependencies.token, _records(settings, dependencies)
    hsm_keys = HsmKeys(token=token, store=records.keys, boundary=boundary, periods=_periods(settings))
    keyring = Keyring(keys=hsm_keys, store=records.keys)
    rsa_keys, throwaway = RsaKeys(dependencies.keygen, ready=key_ready), ThrowawayKeys()
    requests = RequestBuilder(
        token=token,
        keyring=keyring,
        private_keys=PrivateKeyStore(dependencies.secure),
        throwaway=throwaway,
        rsa_keys=rsa_keys,
    )
    return Issuing(
        records=records,
        hsm_keys=hsm_keys,
        keyring=keyring,
        authorities=Authorities(token=token, store=records.authorities),
        schedule=Schedule(renewals=records.renewals, metadata=records.metadata),
        rsa_keys=rsa_keys,
        throwaway=throwaway,
        requests=requests,
        issuance=Issuance(
            token=token,
            requests=requests,
            intents=IntentStore(dependencies.secure, **writer()),
            issued=IssuedStore(dependencies.secure, **writer()),
            boundary=boundary,
            hsm_deadline_s=settings.hsm_deadline_s,
        ),
    )


def build_certifier(
    settings: Settings, dependencies: Dependencies, issuing: Issuing, *, secrets: SecretStore, quotas: QuotaLine
) -> Certifier:
    """Wire what decides on the next step of an object, and takes it."""
    history, organization_id = issuing.records.history, settings.organization_id
    return Certifier(
        organization_id=organization_id,
        history=history,
        issuance=issuing.issuance,
        ca_keys=CaKeys(organization_id=organization_id, hsm_keys=issuing.hsm_keys, keys=issuing.records.keys),
        publications=Publications(
            organization_id=organization_id,
            authorities=issuing.authorities,
            history=history,
            requests=issuing.requests,
            reschedule=issuing.schedule.move,
        ),
        quotas=quotas,
        storms=StormBreaker(history, _storm_limits(settings)),
        objection=BroughtKeys(secrets=secrets, compromised=CompromisedKeyStore(dependencies.secure)).objection,
    )


def _records(settings: Settings, dependencies: Dependencies) -> Records:
    secure, cluster_id = dependencies.secure, settings.cluster_id
    return Records(
        keys=KeyStore(secure, **writer()),
        authorities=AuthorityStore(secure),
        history=HistoryStore(secure, cluster_id=cluster_id),
        outbox=OutboxStore(secure, cluster_id=cluster_id),
        renewals=RenewalStore(secure, cluster_id=cluster_id),
        metadata=MetadataStore(dependencies.core, **writer()),
    )


def _periods(settings: Settings) -> Cryptoperiods:
    return Cryptoperiods(
        ca_signing=timedelta(days=settings.cryptoperiod_ca_signing_days),
        key_encryption=timedelta(days=settings.cryptoperiod_key_encryption_days),
        audit_sealing=timedelta(days=settings.cryptoperiod_audit_sealing_days),
    )


def _storm_limits(settings: Settings) -> StormLimits:
    return StormLimits(
        issuances=settings.storm_issuances,
        window=timedelta(seconds=settings.storm_window_s),
        pause=timedelta(seconds=settings.storm_pause_s),
    )
