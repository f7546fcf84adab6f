"""Records are sealed in batches that can gain nothing, by one sealer at a time, whatever writes beside it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.audit.signer import SEALING_KEY, TokenSigner
from clm.errors import HsmUnavailable, KeyMissing, LogBehind
from clm.hsm.keys import generate_signing_key
from clm.storage.database import Database
from clm.storage.seals import Horizon
from tests.integration.audit.conftest import FileSigner, Log, sealer_of

if TYPE_CHECKING:
    from clm.audit.seal import Sealer
    from tests.fix_token import TokenStore

INSERT = (
    "INSERT INTO secure_audit_log (organization_id, actor_type, actor_id, action, object_type, object_id)"
    " VALUES (gen_random_uuid(), 'system', 'test', 'key.generate', 'key', %s)"
)
NEWEST_END = "(SELECT to_xid FROM clm_audit.seals ORDER BY batch DESC LIMIT 1)"
DEADLINE_S = 30.0


def test_sealed_log_verifies(log: Log, core_log: Log) -> None:
    """What was written and sealed verifies in both databases, and what came later is told to be unsealed."""
    for each in (log, core_log):
        each.write("key.generate", "key.activate", "certificate.issue")
        assert len(each.seal()) == 1
        each.write("certificate.revoke")
        report = each.verify(anchor=each.newest())
        assert report.problems == []
        assert (report.batches, report.records, report.unsealed) == (1, 4, 1)


# Every column with something else than a plain word, and with nothing.
ODD = {
    "on_behalf_of": ["''", "NULL", "'\u00fcn\u00efc\u00f6de \U0001f600'"],
    "auth_method": ["E'tab\\tand\\\\ and\\nline'", "'\\N'", "repeat('long', 5000)"],
    "source_ip": ["'192.0.2.1'", "'192.0.2.0/24'", "'2001:db8::1'", "'::ffff:192.0.2.1'", "'10.1.2.3/8'", "NULL"],
    "occurred_at": ["date_trunc('second', now())", "date_trunc('second', now()) + interval '100 microseconds'"],
    "organization_id": ["'00000000-0000-0000-0000-00000000000A'"],
    "user_agent": ["' '", "'\x7f'", "E'\\b\\f\\r\\x0b'"],
}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_database_and_verifier_hash_alike(log: Log, zone: str) -> None:
    """Whatever the columns hold and however the database is set, it is sealed as it is read."""
    name = log.query("SELECT current_database()")[0][0]
    for setting in (
        f"timezone = '{zone}'",
        "datestyle = 'German'",
        "bytea_output = 'escape'",
        "intervalstyle = 'iso_8601'",
    ):
        log.query(f'ALTER DATABASE "{name}" SET {setting}')
    ids = log.write(*["key.generate"] * sum(map(len, ODD.values())))
    changes = [(column, value) for column, values in ODD.items() for value in values]
    for record, (column, value) in zip(ids, changes, strict=True):
        log.query(f"UPDATE {log.table} SET {column} = {value} WHERE id = %s", record)
    log.seal()
    report = log.verify()
    assert (report.problems, report.records) == ([], len(ids))


def test_nothing_new_is_not_sealed(log: Log) -> None:
    """Without a new record there is no seal, and nobody asks for the key."""
    log.write("key.generate")
    log.seal()

    async def attempt() -> object:
        database = Database(log.operator, name="test", connections=1)
        await database.start()
        try:
            return await sealer_of(log, database).seal(_no_signer)
        finally:
            await database.close()

    sealed = asyncio.run(attempt())
    assert sealed is not None
    assert log.query("SELECT count(*) FROM clm_audit.seals") == [(1,)]


def test_batches_are_bounded(log: Log) -> None:
    """Many records become batches of the size that is held in memory; a transaction is never divided."""
    log.write(*["key.generate"] * 7, together=True)
    log.write(*["key.activate"] * 9)
    assert len(log.seal(batch_records=3)) == 4
    assert log.query("SELECT records FROM clm_audit.seals ORDER BY batch") == [(7,), (3,), (3,), (3,)]
    assert log.verify().problems == []


def test_real_token(log: Log, token_store: TokenStore) -> None:
    """A seal that the token signs verifies under the public key that the token told."""
    key_id = uuid.uuid4()

    async def run() -> bytes:
        async with token_store.opened() as token:
            made = await generate_signing_key(token, key_id=key_id, label="sealing", spec=SEALING_KEY)
            log.signer = TokenSigner(token, key_id, made.spki)
            await _seal_once(log)
            return made.spki

    log.write("key.generate")
    spki = asyncio.run(run())
    assert log.verify(keys=[spki]).problems == []
    assert log.query("SELECT id, spki FROM clm_audit.sealing_keys") == [(key_id, spki)]


@pytest.mark.parametrize("error", [HsmUnavailable("away"), KeyMissing("gone")])
def test_token_away(log: Log, error: Exception) -> None:
    """A token that does not sign leaves no trace, and the next attempt seals the same records."""
    log.write("key.generate", "key.activate")

    async def refuse() -> FileSigner:
        raise error

    async def attempt() -> None:
        database = Database(log.operator, name="test", connections=1)
        await database.start()
        try:
            sealer = sealer_of(log, database)
            with pytest.raises(type(error)):
                await sealer.seal(refuse)
            sealed = await sealer.seal(log.open_signer)
            assert sealed is not None
            assert sealed.new
        finally:
            await database.close()

    asyncio.run(attempt())
    report = log.verify()
    assert (report.problems, report.batches, report.unsealed) == ([], 1, 0)


def test_concurrent_writers_and_a_long_transaction(log: Log) -> None:
    """While sixteen write and one transaction stays open, nothing is skipped; its records are sealed when it ends."""

    async def run() -> int:
        database = Database(log.operator, name="test", connections=2)
        await database.start()
        sealer = sealer_of(log, database, batch_records=50)
        try:
            async with await psycopg.AsyncConnection.connect(log.operator) as slow:
                await slow.execute(INSERT, ["slow"])
                async with asyncio.TaskGroup() as group:
                    writers = [group.create_task(_write(log, number)) for number in range(16)]
                    sealing = group.create_task(_keep_sealing(sealer, log))
                    await asyncio.wait(writers)
                    sealing.cancel()
                await _seal_all(sealer, log)
                below = await _count(slow, f"txid >= coalesce({NEWEST_END}, '0'::xid8)")
                await slow.commit()
            await _seal_all(sealer, log)
            return below
        finally:
            await database.close()

    held_back = asyncio.run(run())
    assert held_back > 1  # the open transaction and what began after it
    report = log.verify(anchor=log.newest())
    assert (report.problems, report.records, report.unsealed) == ([], 16 * 40 + 1, 0)


def test_two_sealers(log: Log) -> None:
    """Two that seal at once make one chain."""

    async def run() -> None:
        database = Database(log.operator, name="test", connections=4)
        await database.start()
        try:
            sealers = [sealer_of(log, database, batch_records=2) for _ in range(2)]
            await asyncio.gather(*(_seal_all(sealer, log) for sealer in sealers))
            await _seal_all(sealers[0], log)
        finally:
            await database.close()

    log.write(*["key.generate"] * 20)
    asyncio.run(run())
    report = log.verify()
    assert (report.problems, report.batches, report.unsealed) == ([], 10, 0)


SEALER = """
import asyncio, sys, uuid
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from clm.audit.checkpoint import Origin
from clm.storage.database import Database
from clm.storage.seals import Horizon
from tests.integration.audit.conftest import CLUSTER, FileSigner, Log, sealer_of

async def main(dsn):
    signer = FileSigner(uuid.UUID(int=7), load_pem_private_key(sys.stdin.buffer.read(), None))
    log = Log("secure", dsn, signer, Origin(CLUSTER, "clm_secure_db"))
    database = Database(log.operator, name="test", connections=1)
    await database.start()
    sealer = sealer_of(log, database, batch_records=5)
    while True:
        await sealer.seal(log.open_signer)

asyncio.run(main(sys.argv[1]))
"""


def test_killed_sealer(log: Log) -> None:
    """A sealer that is killed at any moment leaves whole seals, and the next one goes on after the last."""
    assert isinstance(log.signer, FileSigner)
    pem = log.signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for number in range(5):
        log.write(*["key.generate"] * 30)
        sealed = log.query("SELECT count(*) FROM clm_audit.seals")[0][0]
        process = subprocess.Popen([sys.executable, "-c", SEALER, log.superuser], stdin=subprocess.PIPE)
        try:
            assert process.stdin is not None
            process.stdin.write(pem)
            process.stdin.close()
            deadline = time.monotonic() + DEADLINE_S
            # At work: between two batches, or within one.
            while log.query("SELECT count(*) FROM clm_audit.seals")[0][0] < sealed + 1 + number % 3:
                assert time.monotonic() < deadline, "nothing is sealed"
        finally:
            process.kill()
            process.wait()
        assert log.verify().problems == []
    log.seal()
    report = log.verify()
    assert (report.problems, report.records, report.unsealed) == ([], 150, 0)


def test_not_sealed_over_an_anchor_that_is_ahead(log: Log) -> None:
    """A log that was rolled back is not sealed, nor one whose anchored batch is another."""
    log.write("key.generate")
    log.seal()
    first = log.newest()
    log.write("key.activate")
    log.seal()
    anchor = log.newest()
    log.query("DELETE FROM clm_audit.seals WHERE batch = 2")
    with pytest.raises(LogBehind, match="ends with batch 1, and batch 2"):
        log.seal(known=anchor)
    assert log.query("SELECT count(*) FROM clm_audit.seals") == [(1,)]
    assert len(log.seal(known=first)) == 1
    with pytest.raises(LogBehind, match="is not the one that is anchored"):
        log.seal(known=anchor)


def test_restored_dump_begins_an_epoch(log: Log) -> None:
    """Where transaction ids have begun anew nothing is sealed until an epoch is begun; then the log goes on."""
    log.write("key.generate")
    log.seal()
    log.write("key.activate")
    # As a restored dump looks: records and seals with ids that this server has not come to yet.
    log.query(f"UPDATE {log.table} SET txid = (txid::text::bigint + 1000000)::text::xid8")
    _shift_seals(log, 1_000_000)
    with pytest.raises(LogBehind, match="begin_ledger_epoch"):
        log.seal()
    with log.connect(log.as_role("clm_migrator")) as connection:
        row = connection.execute(
            "SELECT clm_guard.begin_ledger_epoch('restored from the backup of yesterday')"
        ).fetchone()
    assert row == (2,)
    log.write("key.destroy")
    assert len(log.seal()) == 2
    assert log.query("SELECT ledger_epoch, records FROM clm_audit.seals ORDER BY batch") == [(1, 1), (1, 1), (2, 2)]
    assert log.verify(anchor=log.newest()).problems == []
    log.query(
        f"INSERT INTO {log.table} (ledger_epoch, organization_id, actor_type, actor_id, action, object_type, object_id,"
        " txid) VALUES (1, gen_random_uuid(), 'user', 'mallory', 'key.generate', 'key', 'x', '9000000')"
    )
    (problem,) = log.verify().problems
    assert "stands in no sealed range" in problem.what


@pytest.mark.parametrize("role", ["clm_operator_secure", "clm_owner", "clm_auditor", "clm_archiver"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clm_audit.seals SET note = ''",
        "DELETE FROM clm_audit.seals",
        "TRUNCATE clm_audit.seals CASCADE",
        "DELETE FROM clm_audit.sealing_keys",
        "UPDATE clm_audit.epochs SET epoch = 9",
    ],
)
def test_nobody_changes_seals(log: Log, role: str, statement: str) -> None:
    """No user changes or removes a seal, the owner included."""
    log.write("key.generate")
    log.seal()
    with log.connect(log.as_role(role)) as connection:
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


async def _no_signer() -> FileSigner:
    raise AssertionError("the key was asked for")


async def _seal_once(log: Log) -> None:
    database = Database(log.operator, name="test", connections=1)
    await database.start()
    try:
        await sealer_of(log, database).seal(log.open_signer)
    finally:
        await database.close()


async def _seal_all(sealer: Sealer, log: Log) -> None:
    while (sealed := await sealer.seal(log.open_signer)) is not None and sealed.new:
        pass


async def _keep_sealing(sealer: Sealer, log: Log) -> None:
    while True:
        await sealer.seal(log.open_signer)


async def _write(log: Log, number: int) -> None:
    async with await psycopg.AsyncConnection.connect(log.operator, autocommit=True) as connection:
        for record in range(40):
            await connection.execute(INSERT, [f"{number}/{record}"])


async def _count(connection: psycopg.AsyncConnection[Any], where: str) -> int:
    row = await (await connection.execute(f"SELECT count(*) FROM secure_audit_log WHERE {where}".encode())).fetchone()
    assert row is not None
    return int(row[0])


def _shift_seals(log: Log, distance: int) -> None:
    """Seal again what stands, with transaction ids that lie ahead, as the log of another server would be."""
    ((note,),) = log.query("SELECT note FROM clm_audit.seals")
    sealed = Checkpoint.parse(SignedNote.parse(note).text)
    log.query("DELETE FROM clm_audit.seals")
    span = sealed.to_xid + distance
    asyncio.run(_seal_span(log, span))


async def _seal_span(log: Log, to_xid: int) -> None:
    database = Database(log.operator, name="test", connections=1)
    await database.start()
    try:
        sealer = sealer_of(log, database)
        async with sealer._store.sealing() as sealing:
            assert sealing is not None
            horizon = Horizon(ended=to_xid, next=to_xid, epoch=1)
            batch = await sealing.batch(epoch=1, from_xid=0, horizon=horizon, limit=100)
            assert batch is not None
            await sealer._seal(sealing, batch, None, log.signer)
    finally:
        await database.close()
