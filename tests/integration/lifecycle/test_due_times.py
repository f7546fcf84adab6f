"""What falls due, by a clock that is moved and the index of a real database: evenly, in time, and never in the way."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from clm.controllers.queue import WorkQueue
from clm.controllers.renewals import BATCH, LINE, RenewalController
from clm.lifecycle.renewal import renewal_time
from clm.lifecycle.view import ClusterView, Key
from clm.pki.tbs import BACKDATE
from clm.resources.certificate import parse_certificate
from clm.storage.database import Database
from clm.storage.secure.renewals import RenewalStore
from tests.sql import rows

if TYPE_CHECKING:
    from tests.fix_postgres import DatabasePair

COUNT = 10_000
ISSUED = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOT_BEFORE = ISSUED - BACKDATE
# Ten hours until it is due, so that the jitter is one.
NOT_AFTER = ISSUED + timedelta(hours=15) + BACKDATE / 2
SPEC = parse_certificate({"policyRef": {"name": "p"}, "secretName": "s", "commonName": "c"})
UIDS = [uuid.uuid5(uuid.NAMESPACE_DNS, str(number)) for number in range(COUNT)]

_REQUESTS = """
INSERT INTO certificate_requests (id, organization_id, cluster_id, resource_uid, namespace, name, revision, generation,
    spec_hash, policy_name, issuer_key_id, serial_number, tbs, signature_algorithm, not_before, not_after, reason)
SELECT uid, %(organization)s, %(cluster)s, uid, 'shop', uid::text, 1, 1, sha256(''), 'internal', %(key)s,
    uuid_send(uid), 'x', 'ecdsa-with-SHA256', %(from)s, %(until)s, 'initial'
FROM unnest(%(uids)s::uuid[]) AS uid
"""
_CERTIFICATES = """
INSERT INTO certificates (id, request_id, organization_id, cluster_id, resource_uid, namespace, name, revision,
    spec_hash, issuer_key_id, serial_number, certificate, fingerprint_sha256, spki_sha256, subject, issuer,
    subject_key_identifier, not_before, not_after, renewal_due_at)
SELECT uid, uid, %(organization)s, %(cluster)s, uid, 'shop', uid::text, 1, sha256(''), %(key)s, uuid_send(uid),
    uuid_send(uid), sha256(uuid_send(uid)), sha256(''), '', '', 'x', %(from)s, %(until)s, due
FROM unnest(%(uids)s::uuid[], %(due)s::timestamptz[]) AS it (uid, due)
"""


class Clock:
    """One clock for the wall and for the queue, moved by the test."""

    def __init__(self) -> None:
        self.now = ISSUED

    def utc(self) -> datetime:
        """The time of day."""
        return self.now

    def monotonic(self) -> float:
        """Seconds."""
        return self.now.timestamp()


@pytest.fixture
def issued_together(databases: DatabasePair) -> DatabasePair:
    """10,000 certificates of one minute, with the due times that their objects give them."""
    due = [renewal_time(SPEC, uid=uid, not_before=NOT_BEFORE, not_after=NOT_AFTER).at for uid in UIDS]
    with psycopg.connect(databases.superuser_dsn("secure"), autocommit=True) as connection:
        values: dict[str, Any] = {
            "organization": rows.TENANT,
            "cluster": rows.CLUSTER,
            "key": rows.insert(connection, "encryption_keys", rows.ca_key()),
            "from": NOT_BEFORE,
            "until": NOT_AFTER,
            "uids": UIDS,
            "due": due,
        }
        connection.execute(_REQUESTS, values)
        connection.execute(_CERTIFICATES, values)
    return databases


class Shop:
    """The part of an operator that claims and queues, over the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.clock = clock
        self.queue: WorkQueue[Key] = WorkQueue(clock=clock.monotonic)
        self.view = ClusterView()
        for uid in UIDS:
            self.view.put(_object(uid))
        self.registry = CollectorRegistry()
        self.renewals = RenewalController(
            store=RenewalStore(database, cluster_id=rows.CLUSTER),
            schedule=cast("Any", None),
            view=self.view,
            client=cast("Any", None),
            queue=self.queue,
            registry=self.registry,
            clock=clock.utc,
        )

    async def work(self, taken: list[tuple[datetime, Key]]) -> None:
        """Do all that waits, in no time."""
        self.queue.move_due()
        while len(self.queue):
            key = await self.queue.take()
            taken.append((self.clock.now, key))
            self.queue.done(key)


def _object(uid: uuid.UUID) -> dict[str, Any]:
    metadata = {"namespace": "shop", "name": str(uid), "uid": str(uid), "generation": 1, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"policyRef": {"name": "p"}, "secretName": str(uid)}}


async def _opened(databases: DatabasePair) -> Database:
    database = Database(databases.secure, name="clm_secure_db", connections=2)
    await database.start()
    return database


def test_ten_thousand_due_in_one_hour_are_renewed_evenly(issued_together: DatabasePair) -> None:
    """Issued in one minute, they are queued over an hour, each at its time, about as many in each minute."""

    async def act() -> None:
        database, clock = await _opened(issued_together), Clock()
        shop = Shop(database, clock)
        taken: list[tuple[datetime, Key]] = []
        clock.now = ISSUED + timedelta(hours=8, minutes=50)
        while clock.now < ISSUED + timedelta(hours=10, minutes=10):
            if clock.now.minute % 5 == 0 and clock.now.second == 0:
                assert await shop.renewals.claim(ahead_s=600)
            await shop.work(taken)
            clock.now += timedelta(seconds=10)
        await database.close()
        due = {uid: renewal_time(SPEC, uid=uid, not_before=NOT_BEFORE, not_after=NOT_AFTER).at for uid in UIDS}
        assert len(taken) == len({key for _, key in taken}) == COUNT
        for moment, key in taken:
            planned = due[uuid.UUID(key.name)]
            assert planned is not None
            assert timedelta() <= moment - planned < timedelta(seconds=10)
        minutes = Counter(moment.replace(second=0) for moment, _ in taken)
        assert 60 <= len(minutes) <= 62
        # 167 a minute on average; chance alone, with a standard deviation of 13, keeps them within this.
        within = [count for _, count in sorted(minutes.items())][1:-1]
        assert max(within) < 217
        assert min(within) > 117

    asyncio.run(act())


def test_a_mass_that_is_overdue_is_in_nobodys_way(issued_together: DatabasePair) -> None:
    """After two days of outage 10,000 are due at once: most wait in the database, and what is new passes the others."""

    async def act() -> None:
        database, clock = await _opened(issued_together), Clock()
        shop = Shop(database, clock)
        clock.now = ISSUED + timedelta(days=2)
        await shop.renewals.count()
        assert shop.registry.get_sample_value("clm_renewals_due") == COUNT
        assert shop.registry.get_sample_value("clm_renewals_overdue") == COUNT
        assert not await shop.renewals.claim(ahead_s=600)
        assert LINE <= len(shop.queue) < LINE + BATCH
        new = [Key("shop", f"new-{number}") for number in range(100)]
        for key in new:
            shop.queue.add(key)
        taken: list[tuple[datetime, Key]] = []
        claimed_all = False
        while not claimed_all:
            await shop.work(taken)
            claimed_all = await shop.renewals.claim(ahead_s=600)
        await shop.work(taken)
        order = [key for _, key in taken]
        await database.close()
        assert max(order.index(key) for key in new) < 115
        assert len(order) == len(set(order)) == COUNT + 100

    asyncio.run(act())


def test_a_clock_that_is_put_back_loses_nothing(issued_together: DatabasePair) -> None:
    """What was queued for a time that is far away again is looked for once more."""

    async def act() -> None:
        database, clock = await _opened(issued_together), Clock()
        shop = Shop(database, clock)
        clock.now = ISSUED + timedelta(hours=9, minutes=30)
        while not await shop.renewals.claim(ahead_s=600):
            await shop.work([])
        clock.now -= timedelta(hours=1)
        assert await shop.renewals.claim(ahead_s=600)
        clock.now += timedelta(minutes=40)
        again: list[tuple[datetime, Key]] = []
        shop.queue = shop.renewals._queue = WorkQueue(clock=clock.monotonic)
        while not await shop.renewals.claim(ahead_s=600):
            await shop.work(again)
        await shop.work(again)
        await database.close()
        assert again

    asyncio.run(act())


def test_what_has_no_object_is_not_due_any_more(issued_together: DatabasePair) -> None:
    """Nobody asks for it again and again; were its object created again, the spec would say when it is due."""
    moved: list[tuple[uuid.UUID, datetime | None]] = []

    class Schedule:
        async def move(self, certificate_id: uuid.UUID, due_at: datetime | None) -> None:
            moved.append((certificate_id, due_at))

    class Client:
        async def get(self, path: str) -> dict[str, Any] | None:
            return {} if path.endswith(str(UIDS[1])) else None

    async def act() -> None:
        database, clock = await _opened(issued_together), Clock()
        clock.now = ISSUED + timedelta(days=2)
        shop = Shop(database, clock)
        for uid in UIDS[:2]:
            shop.view.remove(Key("shop", str(uid)), str(uid))
        shop.renewals._schedule, shop.renewals._client = cast("Any", Schedule()), cast("Any", Client())
        while not await shop.renewals.claim(ahead_s=600):
            await shop.work([])
        await database.close()

    asyncio.run(act())
    assert moved == [(UIDS[0], None)]
