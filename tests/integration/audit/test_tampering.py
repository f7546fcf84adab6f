"""Whatever a superuser does to records or seals is found, and its place named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from clm.audit.checkpoint import Checkpoint, sign_note
from clm.audit.leaf import COLUMNS
from tests.integration.audit.conftest import FileSigner

if TYPE_CHECKING:
    from clm.audit.report import Report
    from tests.integration.audit.conftest import Log

# A change of each column to something that its type and constraints allow.
CHANGES = {
    "id": "gen_random_uuid()",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "organization_id": "gen_random_uuid()",
    "ledger_epoch": "ledger_epoch + 1",
    "txid": "(txid::text::bigint + 1)::text::xid8",
    "actor_type": "'user'",
    "actor_id": "actor_id || ' '",
    "on_behalf_of": "''",
    "auth_method": "'none'",
    "action": "'key.generate'",
    "object_type": "'key'",
    "object_id": "'another'",
    "outcome": "'failure'",
    "reason": "NULL",
    "origin": "NULL",
    "source_ip": "'192.0.2.1'",
    "user_agent": "'curl'",
    "request_id": "'1'",
    "software_version": "'9'",
    "details": "jsonb_set(details, '{flag}', '1')",
    "details_canonical": "convert_to(replace(convert_from(details_canonical, 'UTF8'), 'true', 'false'), 'UTF8')",
}


def places(report: Report) -> list[tuple[int | None, str | None, str]]:
    """Batch, record and complaint of each problem."""
    return [(problem.batch, problem.record, problem.what) for problem in report.problems]


@pytest.fixture
def three(log: Log) -> list[str]:
    """A log of three batches, of three records each; gives the ids of the middle one."""
    ids = []
    for _ in range(3):
        ids.append(log.write("certificate.intend", "certificate.sign", "certificate.issue"))
        assert len(log.seal()) == 1
    assert log.verify().problems == []
    return ids[1]


def test_every_column_is_covered() -> None:
    """The tests below change every column that there is."""
    assert set(CHANGES) == set(COLUMNS)


@pytest.mark.parametrize("column", CHANGES)
def test_changed_column(log: Log, three: list[str], column: str) -> None:
    """A change of any column of a record is found in its batch, at its position, by its id where it still has it."""
    log.query(f"UPDATE {log.table} SET {column} = {CHANGES[column]} WHERE id = %s", three[1])
    found = log.verify().problems
    assert 2 in {problem.batch for problem in found}
    named = {problem.record for problem in found} | {f"position {problem.position}" for problem in found}
    assert named & {three[1], "position 1"}


def test_deleted(log: Log, three: list[str]) -> None:
    """A record that was deleted is missed at its position."""
    log.query(f"DELETE FROM {log.table} WHERE id = %s", three[1])
    (problem,) = log.verify().problems
    assert (problem.batch, problem.position, problem.what) == (2, 1, "a record was removed")


def test_all_of_a_batch_deleted(log: Log, three: list[str]) -> None:
    """A batch whose records were all deleted is missed record by record."""
    log.query(f"DELETE FROM {log.table} WHERE id = ANY(%s::uuid[])", three)
    assert [(problem.batch, problem.position) for problem in log.verify().problems] == [(2, 0), (2, 1), (2, 2)]


def test_inserted_with_old_transaction(log: Log, three: list[str]) -> None:
    """A record that was put into a sealed range is told from those that were sealed."""
    log.query(
        f"INSERT INTO {log.table} (organization_id, txid, actor_type, actor_id, action, object_type, object_id)"
        f" SELECT organization_id, txid, 'user', 'mallory', action, 'key', 'x' FROM {log.table} WHERE id = %s",
        three[1],
    )
    (problem,) = log.verify().problems
    assert (problem.batch, problem.what) == (2, "a record was inserted")
    ((inserted,),) = log.query(f"SELECT id::text FROM {log.table} WHERE actor_id = 'mallory'")
    assert problem.record == inserted


def test_inserted_before_everything(log: Log, three: list[str]) -> None:
    """A record older than all that was sealed is in the first batch's range, and was not there."""
    log.query(
        f"INSERT INTO {log.table} (organization_id, txid, actor_type, actor_id, action, object_type, object_id)"
        f" SELECT organization_id, '3'::xid8, 'user', 'mallory', action, 'key', 'x' FROM {log.table} WHERE id = %s",
        three[0],
    )
    assert [(problem.batch, problem.what) for problem in log.verify().problems] == [(1, "a record was inserted")]


def test_reordered(log: Log, three: list[str]) -> None:
    """Two records that changed places are both found."""
    log.query(
        f"UPDATE {log.table} t SET txid = o.txid FROM {log.table} o"
        " WHERE (t.id, o.id) IN ((%s, %s), (%s, %s))",
        three[0], three[2], three[2], three[0],
    )  # fmt: skip
    found = log.verify().problems
    assert {problem.batch for problem in found} == {2}
    assert {three[0], three[2]} <= {problem.record for problem in found}


def test_moved_to_the_tail(log: Log, three: list[str]) -> None:
    """A record that was given a later transaction is missed where it was."""
    log.query(f"UPDATE {log.table} SET txid = pg_current_xact_id() WHERE id = %s", three[1])
    (problem,) = log.verify().problems
    assert (problem.batch, problem.position, problem.what) == (2, 1, "a record was removed")


def _insert(log: Log, **values: str) -> str:
    """Put a record there with values of one's own; gives its id."""
    rows = log.query(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s",
        log.table.removeprefix("public."),
    )
    values = {"id": "gen_random_uuid()", "txid": "pg_current_xact_id()", "occurred_at": "now()"} | values
    names = [name for (name,) in rows]
    chosen = ", ".join(values.get(name, name) for name in names)
    statement = (
        f"INSERT INTO {log.table} ({', '.join(names)}) SELECT {chosen} FROM {log.table} LIMIT 1 RETURNING id::text"
    )
    return str(log.query(statement)[0][0])


def test_record_of_a_transaction_to_come(log: Log, three: list[str]) -> None:
    """A record with an id that no transaction has had is not one that waits for its seal."""
    inserted = _insert(log, txid="'9000000000000000'::xid8")
    for _ in range(2):
        (problem,) = log.verify().problems
        assert (problem.record, "9000000000000000" in problem.what) == (inserted, True)
        log.write("key.destroy")
        log.seal()
    assert three


@pytest.mark.parametrize("moment", ["now() - interval '2 hours'", "now() + interval '2 hours'"])
def test_record_of_another_time(log: Log, three: list[str], moment: str) -> None:
    """A record that claims to be of long before what was sealed before it, or of after its seal, is found."""
    inserted = _insert(log, occurred_at=moment)
    log.seal()
    (problem,) = log.verify().problems
    assert (problem.batch, problem.record, "is said to be of" in problem.what) == (4, inserted, True)
    assert three


def test_old_records_after_an_outage(log: Log) -> None:
    """Records that waited for hours, and come into batches one after the other, are of no wrong time."""
    log.write(*["key.generate"] * 6)
    log.query(f"UPDATE {log.table} SET occurred_at = occurred_at - interval '5 hours'")
    assert len(log.seal(batch_records=2)) == 3
    log.write("key.destroy")
    log.seal()
    assert log.verify().problems == []


def test_cut_tail(log: Log, three: list[str]) -> None:
    """A log whose newest records and seals are gone verifies in itself; the anchor tells."""
    anchor = log.newest()
    log.query("DELETE FROM clm_audit.seals WHERE batch = 3")
    log.query(f"DELETE FROM {log.table} WHERE txid >= (SELECT to_xid FROM clm_audit.seals ORDER BY batch DESC LIMIT 1)")
    assert log.verify().problems == []
    (problem,) = log.verify(anchor=anchor).problems
    assert "ends with batch 2, and batch 3" in problem.what
    assert "rolled back or cut" in problem.what
    assert three


def test_other_log_of_the_same_key(log: Log, three: list[str]) -> None:
    """A log that was sealed anew after a cut is not the one that is anchored."""
    anchor = log.newest()
    log.query("DELETE FROM clm_audit.seals WHERE batch = 3")
    log.query(f"DELETE FROM {log.table} WHERE txid >= (SELECT to_xid FROM clm_audit.seals ORDER BY batch DESC LIMIT 1)")
    log.write("key.destroy")
    log.seal()
    assert log.verify().problems == []
    (problem,) = log.verify(anchor=anchor).problems
    assert (problem.batch, "the log was replaced" in problem.what) == (3, True)
    assert three


SEAL_CHANGES = {
    "batch": "batch + 10",
    "ledger_epoch": "1 + (SELECT 1 FROM clm_audit.epochs WHERE epoch = 1)",
    "from_xid": "(from_xid::text::bigint + 1)::text::xid8",
    "to_xid": "(to_xid::text::bigint + 1000000)::text::xid8",
    "records": "2, leaves = substr(leaves, 1, 64)",
    "total": "total + 1",
    "root": "sha256(root)",
    "previous": "sha256(previous)",
    "sealed_at": "sealed_at - interval '1 day'",
    "key_id": "(SELECT id FROM clm_audit.sealing_keys WHERE id <> key_id)",
    "note": "replace(note, 'records 3', 'records 2')",
    "leaves": "substr(leaves, 33) || substr(leaves, 1, 32)",
}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("column", SEAL_CHANGES)
def test_changed_seal(log: Log, column: str) -> None:
    """A change of any column of a seal is found, and the seal named."""
    log.query("INSERT INTO clm_audit.epochs (epoch, reason) VALUES (2, 'a row to refer to')")
    log.query("INSERT INTO clm_audit.sealing_keys (id, spki) VALUES (gen_random_uuid(), %s)", log.signer.spki)
    log.query(f"UPDATE clm_audit.seals SET {column} = {SEAL_CHANGES[column]} WHERE batch = 2")
    assert {problem.batch for problem in log.verify().problems} & {2, 12}


@pytest.mark.usefixtures("three")
def test_deleted_seal(log: Log) -> None:
    """A seal that was taken out of the middle is missed by its number, and its records stand in no seal."""
    log.query("DELETE FROM clm_audit.seals WHERE batch = 2")
    whats = [problem.what for problem in log.verify().problems]
    assert "seals are missing: batch 2" in whats
    assert any("stands in no sealed range, and 2 more" in what for what in whats)


@pytest.mark.usefixtures("three")
def test_forged_seal(log: Log) -> None:
    """A log that was changed and sealed again with another key does not pass, whatever key the database names."""
    forger = FileSigner()
    ((note, key_id),) = log.query("SELECT note, key_id FROM clm_audit.seals WHERE batch = 3")
    text = Checkpoint.parse(str(note).partition("\n— ")[0]).text()
    forged = str(asyncio.run(sign_note(text, forger)))
    log.query("INSERT INTO clm_audit.sealing_keys (id, spki) VALUES (%s, %s)", forger.key_id, forger.spki)
    log.query("UPDATE clm_audit.seals SET note = %s, key_id = %s WHERE batch = 3", forged, forger.key_id)
    problems = log.verify().problems
    assert any("not trusted" in problem.what and problem.batch == 3 for problem in problems)
    assert any(str(forger.key_id) in problem.what for problem in problems)
    assert key_id != forger.key_id
