"""Wires the sealing of the audit logs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from clm.audit.checkpoint import Origin
from clm.audit.seal import Sealer
from clm.cluster.anchors import AnchorStore
from clm.controllers.sealing import SealingController
from clm.lifecycle.sealing_key import SealingKey
from clm.resources.seals import DATABASES, LEDGERS
from clm.storage.records import RecordStore
from clm.storage.seals import SealStore
from clm.storage.secure.sealing_keys import sealing_keys
from clm.wiring.process import utc_now

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from clm.lifecycle.hsm_keys import HsmKeys
    from clm.settings import Settings
    from clm.storage.secure.keys import KeyStore
    from clm.wiring.outside import Dependencies


def build_sealing(
    settings: Settings, dependencies: Dependencies, *, keys: KeyStore, hsm_keys: HsmKeys, registry: CollectorRegistry
) -> SealingController:
    """Wire what seals the logs of both databases."""
    databases = {"secure": dependencies.secure, "core": dependencies.core}
    logs = [
        (
            Sealer(
                origin=Origin(settings.cluster_id, DATABASES[ledger]),
                store=SealStore(databases[ledger], ledger),
                keys=partial(sealing_keys, dependencies.secure),
                clock=utc_now,
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
        registry=registry,
    )
