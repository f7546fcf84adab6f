"""What happens to answers as time passes, clm_core_db goes away and comes back, and rows come late.

The responder's parts run in this process, with a clock that the tests turn, over a real database.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from psycopg import sql

from clm.errors import DatabaseUnavailable
from clm.responder.delegations import RETRY_S
from clm.responder.ocsp import LONGEST_KEPT, Answer
from clm.responder.parts import Parts, build
from clm.responder.settings import ResponderSettings
from tests.integration.responder.authority import Authority
from tests.integration.responder.test_ocsp import request_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from clm.storage.core.certificate_status import RecordedStatus, SerialKey
    from tests.fix_postgres import DatabasePair

LIFETIME_S = 3600.0

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
TRY_LATER, UNAUTHORIZED = ocsp.OCSPResponseStatus.TRY_LATER, ocsp.OCSPResponseStatus.UNAUTHORIZED


@dataclass(slots=True)
class Clock:
    """Seconds since the epoch, `ahead` of the real ones."""

    ahead: float = 0.0

    def __call__(self) -> float:
        """Read it."""
        return time.time() + self.ahead


@dataclass(frozen=True, slots=True)
class Running:
    """The parts, started and told of one CA."""

    parts: Parts
    clock: Clock
    authority: Authority

    async def ask(self, certificate: x509.Certificate, *, nonce: bytes | None = None) -> ocsp.OCSPResponse:
        """Ask about a certificate."""
        answer = self.parts.answers.answer(request_for(self.authority, certificate, nonce=nonce))
        return ocsp.load_der_ocsp_response((answer if isinstance(answer, Answer) else await answer).der)

    async def look(self) -> None:
        """Look at the database once, as the feed does every second."""
        await self.parts.feed.look()

    @property
    def cached(self) -> int:
        """How many answers came out of memory as they were."""
        return self.parts.answers.counts["cached"]


@asynccontextmanager
async def running(databases: DatabasePair, operator: psycopg.Connection, **settings: Any) -> AsyncIterator[Running]:
    """Run the parts over a database, with a CA that has certified the key."""
    clock = Clock()
    dsn = databases.dsn("core", "clm_responder")
    chosen = ResponderSettings(core_dsn=dsn, ocsp_lifetime_s=LIFETIME_S, **settings)
    parts = build(chosen, origin="test", clock=clock)
    await parts.database.start()
    try:
        authority = Authority(operator)
        authority.publish()
        await parts.feed.look()
        authority.certify(lifetime=timedelta(days=30))
        await parts.feed.look()
        yield Running(parts, clock, authority)
    finally:
        await parts.database.close()


@pytest.fixture
def operator(databases: DatabasePair) -> Iterator[psycopg.Connection]:
    """What the controller would write with."""
    with psycopg.connect(databases.core, autocommit=True) as connection:
        yield connection


@contextmanager
def away(databases: DatabasePair) -> Iterator[None]:
    """Have nobody but an administrator in the database."""
    name = databases.names["core"]
    with psycopg.connect(databases.cluster.superuser_dsn(), autocommit=True) as connection:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        connection.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = 'clm_responder'",
            [name],
        )
        try:
            yield
        finally:
            connection.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


async def lose(served: Running) -> None:
    """Look in vain, and take note, as the feed's loop does."""
    with pytest.raises(DatabaseUnavailable):
        await served.look()
    served.parts.answers.is_core_away = True


async def find(served: Running) -> None:
    """Look until the database answers again."""
    async with asyncio.timeout(30):
        while True:
            try:
                await served.look()
            except DatabaseUnavailable:
                continue
            return


def test_answers_are_renewed_at_half_of_their_life(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """Until then they come out of memory; then the database is asked again, also for what the feed does not tell."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            first = await served.ask(certificate)
            again = await served.ask(certificate)
            assert again.public_bytes(Encoding.DER) == first.public_bytes(Encoding.DER)
            assert served.cached == 1
            operator.execute("UPDATE certificate_metadata SET status = 'revoked'")
            served.clock.ahead = LIFETIME_S / 2 - 60
            assert (await served.ask(certificate)).certificate_status is GOOD
            served.clock.ahead = LIFETIME_S / 2 + 1
            assert (await served.ask(certificate)).certificate_status is REVOKED

    asyncio.run(act())


def test_news_in_the_midst_of_a_look_up(
    databases: DatabasePair, operator: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before a revocation was heard of is read again: nobody is told good afterwards."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            store = served.parts.answers._store
            read = store.status

            async def overtaken(key: SerialKey) -> RecordedStatus | None:
                status = await read(key)
                if not operator.execute("SELECT 1 FROM clm_status.revocations").fetchone():
                    served.authority.revoke(certificate)
                    await served.look()
                return status

            monkeypatch.setattr(store, "status", overtaken)
            assert (await served.ask(certificate)).certificate_status is REVOKED

    asyncio.run(act())


def test_only_answers_to_short_requests_are_kept(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """A request can be filled up; memory is not what strangers make it. It is answered all the same."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            der = request_for(served.authority, certificate)
            padding = ocsp.OCSPRequestBuilder().add_certificate(
                certificate, served.authority.certificate, hashes.SHA256()
            )
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(LONGEST_KEPT))
            padded = padding.add_extension(extension, critical=False).build().public_bytes(Encoding.DER)
            for asked, kept in ((padded, 0), (der, 1), (padded, 1)):
                answer = served.parts.answers.answer(asked)
                found = answer if isinstance(answer, Answer) else await answer
                assert ocsp.load_der_ocsp_response(found.der).certificate_status is GOOD
                assert len(served.parts.answers) == kept

    asyncio.run(act())


def test_while_the_database_is_away(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """What is known is told until it expires, also to who sends a nonce; about anything else: try later."""

    async def act() -> None:
        async with running(databases, operator) as served:
            known, unknown = served.authority.issue(), served.authority.issue()
            first = await served.ask(known)
            with away(databases):
                await lose(served)
                served.clock.ahead = LIFETIME_S * 0.9
                late = await served.ask(known)
                assert (late.certificate_status, late.produced_at_utc) == (GOOD, first.produced_at_utc)
                fresh = await served.ask(known, nonce=os.urandom(16))
                assert fresh.certificate_status is GOOD
                assert fresh.next_update_utc is not None
                assert first.this_update_utc <= fresh.this_update_utc
                assert fresh.next_update_utc - fresh.this_update_utc <= timedelta(seconds=LIFETIME_S)
                assert (await served.ask(unknown)).response_status is TRY_LATER
                served.clock.ahead = LIFETIME_S + 5
                assert (await served.ask(known)).response_status is TRY_LATER
                assert (await served.ask(known, nonce=os.urandom(16))).response_status is TRY_LATER
            served.authority.revoke(known)
            await find(served)
            assert (await served.ask(known)).certificate_status is REVOKED
            assert (await served.ask(unknown)).certificate_status is GOOD

    asyncio.run(act())


def test_an_outage_that_the_feed_has_not_seen(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """A question that the database does not answer is answered by what is known."""

    async def act() -> None:
        async with running(databases, operator) as served:
            known, unknown = served.authority.issue(), served.authority.issue()
            await served.ask(known)
            with away(databases):
                served.clock.ahead = LIFETIME_S * 0.6
                assert (await served.ask(known)).certificate_status is GOOD
                assert (await served.ask(unknown)).response_status is TRY_LATER
            await find(served)

    asyncio.run(act())


def test_revocations_that_are_committed_late(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """A row counts from when it was written, and is seen when it is committed: looks go back for it."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            with psycopg.connect(databases.core) as slow:
                authority = served.authority
                mine, authority.connection = authority.connection, slow
                authority.revoke(certificate)
                authority.connection = mine
                await served.look()
                assert (await served.ask(certificate)).certificate_status is GOOD
                await served.look()
                slow.commit()
            await served.look()
            assert (await served.ask(certificate)).certificate_status is REVOKED

    asyncio.run(act())


def test_revocations_that_are_committed_in_an_outage(
    databases: DatabasePair, operator: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """The first look after it goes far back; the outage itself is told of once."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate, feed = served.authority.issue(), served.parts.feed
            assert (await served.ask(certificate)).certificate_status is GOOD
            with psycopg.connect(databases.superuser_dsn("core"), autocommit=True) as administrator:
                with away(databases):
                    task = asyncio.create_task(feed.run())
                    async with asyncio.timeout(60):
                        while feed._failures < 2:  # noqa: ASYNC110 - nobody sets an event for it
                            await asyncio.sleep(0.05)
                    task.cancel()
                    served.authority.revoke(certificate)
                    administrator.execute(
                        "UPDATE clm_status.revocations SET recorded_at = recorded_at - interval '60 seconds'"
                    )
                await find(served)
            assert (await served.ask(certificate)).certificate_status is REVOKED
            assert sum("what is in memory" in record.message for record in caplog.records) == 1

    asyncio.run(act())


def test_a_far_look_that_fails_is_not_lost(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """What was seen is counted, not what was tried."""

    async def act() -> None:
        async with running(databases, operator) as served:
            before = served.parts.feed._looks
            with away(databases):
                await lose(served)
                await lose(served)
            assert served.parts.feed._looks == before
            await find(served)
            assert served.parts.feed._looks == before + 1

    asyncio.run(act())


def test_a_clock_that_goes_back(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """After a fail-over to a server whose clock is behind, nothing that was known is relied on."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            assert (await served.ask(certificate)).certificate_status is GOOD
            assert served.parts.feed._read_until is not None
            served.parts.feed._read_until += timedelta(hours=1)
            served.authority.revoke(certificate)
            await served.look()
            assert (await served.ask(certificate)).certificate_status is REVOKED

    asyncio.run(act())


def test_memory_is_bounded(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """However many certificates are asked about, the oldest answers make room."""

    async def act() -> None:
        async with running(databases, operator, ocsp_kept_answers=3) as served:
            certificates = [served.authority.issue() for _ in range(10)]
            for certificate in certificates:
                assert (await served.ask(certificate)).certificate_status is GOOD
            assert len(served.parts.answers) == len(served.parts.book) == 3
            await served.ask(certificates[-1])
            assert served.cached == 1
            await served.ask(certificates[0])
            assert served.cached == 1
            # Strangers who try out numbers leave nothing behind.
            for _ in range(10):
                assert (await served.ask(served.authority.unrecorded())).response_status is UNAUTHORIZED
            await served.ask(certificates[0])
            assert served.cached == 2

    asyncio.run(act())


def test_refused_keys_ask_again(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """After a minute, with a new key; and a request whose row is gone is made anew."""

    async def act() -> None:
        async with running(databases, operator) as served:
            other = Authority(operator)
            other.publish()
            await served.look()
            refused = other.certify(refuse="not a responder of ours")
            await served.look()
            await served.look()
            assert served.parts.delegations.pending == []
            served.clock.ahead = RETRY_S + 1
            await served.look()
            (second,) = served.parts.delegations.pending
            assert second != refused
            operator.execute("DELETE FROM clm_status.ocsp_responders WHERE id = %s", [second])
            await served.look()
            await served.look()
            (third,) = served.parts.delegations.pending
            assert third not in {refused, second}
            assert other.certify() == third
            await served.look()
            assert served.parts.delegations.get(other.key_id) is not None

    asyncio.run(act())


def test_certificates_that_are_no_delegation(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """One of another key, or by another CA, is not used: clients would refuse what it signs."""

    async def act() -> None:
        async with running(databases, operator) as served:
            other, stranger = Authority(operator), Authority(operator)
            other.publish()
            for signer in (other, stranger):
                await served.look()
                (request,) = served.parts.delegations.pending
                key = signer.key.public_key() if signer is other else None
                pending = served.parts.delegations._pending[request]
                certificate = signer.delegate(key or pending.key.public_key(), lifetime=timedelta(days=1))
                operator.execute(
                    "UPDATE clm_status.ocsp_responders SET certificate = %s, not_after = now() WHERE id = %s",
                    [certificate.public_bytes(Encoding.DER), request],
                )
                await served.look()
                assert served.parts.delegations.get(other.key_id) is None
                assert served.parts.delegations.pending == []
                served.clock.ahead += RETRY_S + 1

    asyncio.run(act())


def test_a_row_that_cannot_be_read(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """One CA's key that is none is passed over, and all the others are served."""

    async def act() -> None:
        async with running(databases, operator) as served:
            other = Authority(operator)
            other.publish()
            with psycopg.connect(databases.superuser_dsn("core"), autocommit=True) as administrator:
                administrator.execute(
                    "UPDATE clm_status.issuers SET spki = %s, updated_at = now() WHERE issuer_key_id = %s",
                    [b"\x30\x7f" * 20, other.key_id],
                )
            await served.look()
            await served.look()
            assert other.key_id not in served.parts.documents.issuers
            assert (await served.ask(served.authority.issue())).certificate_status is GOOD

    asyncio.run(act())


def test_issuers_that_end(databases: DatabasePair, operator: psycopg.Connection) -> None:
    """Where OCSP is turned off, or the CA's row goes, its key and its answers go as well."""

    async def act() -> None:
        async with running(databases, operator) as served:
            certificate = served.authority.issue()
            assert (await served.ask(certificate)).certificate_status is GOOD
            served.authority.publish(ocsp=False)
            await served.look()
            assert (await served.ask(certificate)).response_status is UNAUTHORIZED
            assert served.parts.delegations.current == {}

    asyncio.run(act())
