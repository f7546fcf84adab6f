"""Wires the responder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.responder.delegations import Delegations
from clm.responder.documents import Documents
from clm.responder.feed import Feed
from clm.responder.ocsp import OcspAnswers
from clm.responder.routes import Routes
from clm.responder.server import HttpServer
from clm.responder.statuses import StatusBook
from clm.storage.core.certificate_status import CertificateStatusStore
from clm.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.responder.settings import ResponderSettings

_POOL_S = 2.0
"""How long a question may wait for a connection: whoever asks over HTTP waits no longer than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the responder is made of."""

    database: Database
    documents: Documents
    delegations: Delegations
    book: StatusBook
    answers: OcspAnswers
    feed: Feed
    routes: Routes
    server: HttpServer


def build(settings: ResponderSettings, *, origin: str, clock: Callable[[], float] = time.time) -> Parts:
    """Wire a responder; nothing is connected yet. `clock` gives seconds since the epoch."""
    database = Database(
        settings.core_dsn,
        name="clm_core_db",
        connections=settings.database_connections,
        timeout_s=_POOL_S,
        application="clm-responder",
    )
    store = CertificateStatusStore(database)
    documents, delegations = Documents(), Delegations()
    book = StatusBook(limit=settings.ocsp_kept_answers)
    answers = OcspAnswers(
        store=store,
        documents=documents,
        delegations=delegations,
        book=book,
        lifetime_s=settings.ocsp_lifetime_s,
        limit=settings.ocsp_kept_answers,
        clock=clock,
    )
    feed = Feed(
        store=store,
        documents=documents,
        delegations=delegations,
        book=book,
        answers=answers,
        origin=origin,
        clock=clock,
    )
    routes = Routes(documents=documents, ocsp=answers, clock=clock)
    return Parts(
        database=database,
        documents=documents,
        delegations=delegations,
        book=book,
        answers=answers,
        feed=feed,
        routes=routes,
        server=HttpServer(routes.respond, most_connections=settings.responder_connections),
    )
