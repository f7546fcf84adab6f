"""Wires what goes through all the data: comparison, retention, erasure. For the controller and for commands alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.lifecycle.check import Checker
from clm.lifecycle.check_cluster import ClusterCheck
from clm.lifecycle.check_databases import DatabaseCheck
from clm.lifecycle.check_token import TokenCheck
from clm.lifecycle.erasure import Eraser
from clm.lifecycle.hsm_keys import HsmKeys
from clm.lifecycle.integrity import Integrity
from clm.lifecycle.keyring import Keyring
from clm.lifecycle.request import RequestBuilder
from clm.lifecycle.retention import Retention, RetentionPeriods
from clm.lifecycle.rsa_keys import RsaKeys
from clm.pki.tbs import ThrowawayKeys
from clm.storage.core.persons import PersonStore
from clm.storage.core.reports import ReportStore
from clm.storage.core.survey import CoreSurvey
from clm.storage.records import RecordStore
from clm.storage.retention import RetentionStore
from clm.storage.secure.destruction import PrivateKeyDestruction
from clm.storage.secure.keys import KeyStore
from clm.storage.secure.private_keys import PrivateKeyStore
from clm.storage.secure.quarantine import QuarantineStore
from clm.storage.secure.subjects import SubjectStore
from clm.storage.secure.survey import SecureSurvey
from clm.wiring.process import writer

if TYPE_CHECKING:
    import uuid
    from concurrent.futures import ThreadPoolExecutor

    from clm.cluster.client import ApiClient
    from clm.hsm.token import Token
    from clm.settings import Settings
    from clm.storage.database import Database


def build_integrity(
    *,
    secure: Database,
    core: Database,
    token: Token,
    client: ApiClient,
    keygen: ThreadPoolExecutor,
    cluster_id: uuid.UUID,
) -> Integrity:
    """Wire the comparison of the worlds of one cluster; it never issues."""
    audit = writer()
    keys = KeyStore(secure, **audit)
    hsm_keys = HsmKeys(token=token, store=keys, boundary=no_boundary)
    requests = RequestBuilder(
        token=token,
        keyring=Keyring(keys=hsm_keys, store=keys),
        private_keys=PrivateKeyStore(secure),
        throwaway=ThrowawayKeys(),
        rsa_keys=RsaKeys(keygen, ready=lambda _: None),
    )
    secure_survey, core_survey = SecureSurvey(secure, cluster_id=cluster_id), CoreSurvey(core, cluster_id=cluster_id)
    checker = Checker(
        secure=secure_survey,
        core=core_survey,
        databases=DatabaseCheck(secure=secure_survey, core=core_survey, requests=requests),
        cluster=ClusterCheck(secure=secure_survey, client=client),
        token=TokenCheck(
            keys=keys,
            quarantine=QuarantineStore(secure, **audit),
            token=token,
            hsm_keys=hsm_keys,
            cluster_id=cluster_id,
        ),
    )
    return Integrity(
        checker=checker,
        reports=ReportStore(core, origin=audit["origin"]),
        records=RecordStore(secure, "secure"),
        cluster_id=cluster_id,
    )


def build_retention(
    settings: Settings, secure: Database, core: Database, *, boundary: Boundary = no_boundary
) -> Retention:
    """Wire the rules by which data go."""
    audit = writer()
    return Retention(
        periods=RetentionPeriods.of(settings),
        stores=(RetentionStore(secure, "secure", **audit), RetentionStore(core, "core", **audit)),
        keys=PrivateKeyDestruction(secure, **audit),
        boundary=boundary,
    )


def build_eraser(secure: Database, core: Database, *, actor: str, boundary: Boundary = no_boundary) -> Eraser:
    """Wire the erasure of persons."""
    audit = writer()
    return Eraser(
        persons=PersonStore(core, **audit), subjects=SubjectStore(secure, **audit), boundary=boundary, actor=actor
    )
