"""A responder on a database of its own, and CAs that publish there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.integration.responder.authority import Authority
from tests.integration.responder.process import Responder, run_responder, wait_said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fix_postgres import DatabasePair, Server


@pytest.fixture(scope="package")
def published(postgres_server: Server) -> Iterator[DatabasePair]:
    """The databases that the shared responder reads."""
    with postgres_server.pair() as pair:
        yield pair


@pytest.fixture(scope="package")
def responder(published: DatabasePair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responder]:
    """A running responder, shared by the tests; each has a CA of its own."""
    folder = tmp_path_factory.mktemp("responder")
    yield from run_responder(folder, published.dsn("core", "clm_responder"))


@pytest.fixture(scope="package")
def operator(published: DatabasePair) -> Iterator[psycopg.Connection]:
    """What the controller would write with."""
    with psycopg.connect(published.core, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="package")
def authority(operator: psycopg.Connection, responder: Responder) -> Authority:
    """A CA that the responder answers for, shared by tests that only issue and revoke."""
    made = Authority(operator)
    made.publish()
    made.certify()
    wait_said(responder, ": good", made.certificate, made.issue())
    return made
