"""A month leaves the database only when it is proven to stand in files, and the rest stays provable."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from clm.audit.archive import MANIFEST, RECORDS, Archive, partition_of, read_archive, write_archive
from clm.audit.checkpoint import Checkpoint, sign_note
from clm.audit.leaf import leaf_of, values_of_line
from clm.audit.manifest import Manifest, manifest_sha256
from clm.audit.tree import hashes_of, root_of
from clm.audit.trust import Trust
from clm.errors import ArchiveInvalid, AuditFailed
from clm.resources.seals import ArchiveRow
from clm.storage.ledger import archive_is_sealed, drop_archived_partition, open_ledger, record_archive
from tests.integration.audit.conftest import FileSigner

if TYPE_CHECKING:
    from pathlib import Path

    from clm.audit.anchor import Ends
    from tests.integration.audit.conftest import Log

MONTH = date(2026, 1, 1)
NEXT = date(2026, 2, 1)
PARTITION = "secure_audit_log_2026_01"


@pytest.fixture
def old(log: Log) -> Log:
    """Three batches: one of January, one over the end of it, one of February."""
    for month in (MONTH, NEXT):
        log.query(
            f"CREATE TABLE clm_audit_parts.secure_audit_log_{month:%Y_%m} PARTITION OF {log.table}"
            f" FOR VALUES FROM ('{month} 00:00Z') TO ('{month.replace(month=month.month + 1)} 00:00Z')"
        )
        log.query(f"ALTER TABLE clm_audit_parts.secure_audit_log_{month:%Y_%m} OWNER TO clm_owner")
    for number, days in enumerate((("01-05", "01-06"), ("01-31", "02-01", "01-31"), ("02-02",))):
        for day in days:
            _at(log, f"2026-{day} 12:00Z", f"object-{number}")
        assert len(log.seal()) == 1
    return log


def test_archived_and_dropped(old: Log, tmp_path: Path) -> None:
    """The partition goes, the log still verifies, and an inclusion in the archive proves itself from files alone."""
    archive = _archive(old, tmp_path)
    assert archive.manifest.partial == {2: frozenset({0, 2})}
    assert old.verify().problems == []
    assert _drop(old, archive) == 4
    assert old.query("SELECT to_regclass(%s)::text", f"clm_audit_parts.{PARTITION}") == [(None,)]
    report = old.verify()
    assert (report.problems, report.archived) == ([], 4)
    assert read_archive(archive.folder, keys=[old.signer.spki]).manifest == archive.manifest
    actions = old.query(f"SELECT action, actor_id <> '' FROM {old.table} WHERE action LIKE 'audit.%%' ORDER BY txid")
    assert actions == [("audit.archive", True), ("audit.drop", True)]


def test_both_months_dropped(old: Log, tmp_path: Path) -> None:
    """A batch whose records went with two archives is whole between them."""
    for month in (MONTH, NEXT):
        _drop(old, _archive(old, tmp_path, month), month)
    report = old.verify()
    assert (report.problems, report.archived) == ([], 6)


def test_not_dropped_unarchived(old: Log) -> None:
    """Without an archive on record nothing is dropped."""
    with pytest.raises(AuditFailed, match="2026-01 is not archived"):
        drop_archived_partition(old.as_role("clm_archiver"), MONTH, manifest_sha256=bytes(32))


def test_not_dropped_by_another_manifest(old: Log, tmp_path: Path) -> None:
    """Who drops has to have the manifest."""
    _archive(old, tmp_path)
    with pytest.raises(AuditFailed, match="not the manifest"):
        drop_archived_partition(old.as_role("clm_archiver"), MONTH, manifest_sha256=bytes(32))


def test_not_dropped_before_its_record_is_sealed(old: Log, tmp_path: Path) -> None:
    """The archiver's user alone drops nothing: the operator's has to have sealed the record of the archive."""
    archive = _archive(old, tmp_path, witnessed=False)
    dsn = old.as_role("clm_archiver")
    assert not archive_is_sealed(dsn, MONTH)
    with pytest.raises(AuditFailed, match="the record of the archive is not sealed yet"):
        _drop(old, archive)
    old.seal()
    assert archive_is_sealed(dsn, MONTH)
    assert _drop(old, archive) == 4


@pytest.mark.parametrize(
    "change",
    [
        ("archive 2026-01", "archive 2026-02"),
        ("batches 1 2", "batches 2 2"),
        ("batches 1 2", "batches 1 9"),
        ("root", "r"),
    ],
)
def test_not_dropped_by_a_manifest_of_something_else(old: Log, tmp_path: Path, change: tuple[str, str]) -> None:
    """The manifest has to name the month, the number of records and the batches that stand in the partition."""
    archive = _archive(old, tmp_path, recorded=False)
    manifest = str(archive.note).replace(*change)
    assert manifest != str(archive.note)
    record_archive(old.as_role("clm_archiver"), replace(archive.row(PARTITION), manifest=manifest))
    old.seal()
    with pytest.raises(AuditFailed, match="the manifest is not of the 4 records"):
        drop_archived_partition(
            old.as_role("clm_archiver"), MONTH, manifest_sha256=hashlib.sha256(manifest.encode()).digest()
        )


def test_not_recorded_with_a_key_of_its_own(old: Log, tmp_path: Path) -> None:
    """The archiver's user names no key that has signed no seal."""
    archive = _archive(old, tmp_path, recorded=False)
    stranger = FileSigner()
    row = replace(archive.row(PARTITION), key_id=stranger.key_id)
    with pytest.raises(AuditFailed, match="no seal was signed with that key"):
        record_archive(old.as_role("clm_archiver"), row)


def test_not_dropped_too_early(old: Log, tmp_path: Path) -> None:
    """A month stays for ninety days after its end, whatever is archived."""
    last = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).date().replace(day=1)
    name = f"secure_audit_log_{last:%Y_%m}"
    if not old.query("SELECT to_regclass(%s)", f"clm_audit_parts.{name}")[0][0]:
        following = (last + timedelta(days=32)).replace(day=1)
        old.query(
            f"CREATE TABLE clm_audit_parts.{name} PARTITION OF {old.table}"
            f" FOR VALUES FROM ('{last} 00:00Z') TO ('{following} 00:00Z')"
        )
        old.query(f"ALTER TABLE clm_audit_parts.{name} OWNER TO clm_owner")
    _at(old, f"{last} 12:00Z", "last month")
    old.seal()
    archive = _archive(old, tmp_path, last)
    with pytest.raises(AuditFailed, match="has not been over for 90 days"):
        _drop(old, archive, last)


@pytest.mark.parametrize("forged", ["key", "chain", "anchor", "rolled back"])
def test_not_archived_under_seals_that_are_not_proven(old: Log, tmp_path: Path, forged: str) -> None:
    """Nothing is written unless the seals from the month to the anchor are a chain, signed by keys from outside."""
    keys, anchor = [old.signer.spki], Checkpoint.parse(old.newest().text)
    if forged == "key":
        # What the database would have to say for itself: made anew, with a key of whoever did it.
        old.query(f"UPDATE {old.table} SET actor_id = 'nobody' WHERE object_id = 'object-0'")
        old.query("DELETE FROM clm_audit.seals")
        old.query("DELETE FROM clm_audit.sealing_keys")
        old.signer = FileSigner()
        old.seal()
    elif forged == "chain":
        first, second = (Checkpoint.parse(note.text) for note in old.notes()[:0:-1])
        assert (first.batch, second.batch) == (1, 2)
        note = asyncio.run(sign_note(replace(second, previous=bytes(32)).text(), old.signer))
        old.query("UPDATE clm_audit.seals SET note = %s WHERE batch = 2", str(note))
    elif forged == "anchor":
        anchor = replace(anchor, root=bytes(32))
    else:
        old.query("DELETE FROM clm_audit.seals WHERE batch = 3")
    with pytest.raises(ArchiveInvalid, match=r"not trusted|does not follow|not the one that is anchored|rolled back"):
        _archive(old, tmp_path, keys=keys, anchor=anchor)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".unfinished"]


SEALS = 400


def test_dropping_costs_what_stands(old: Log, tmp_path: Path) -> None:
    """A drop and the search for a seal read seals in proportion to records and seals, not to their product."""
    log, base = old, 10_000_000
    log.query(
        f"INSERT INTO {log.table}"
        " (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id, txid)"
        " SELECT '2026-01-07 12:00Z', gen_random_uuid(), 'system', 'test', 'key.generate', 'key', 'many',"
        f" ({base} + g)::text::xid8 FROM generate_series(0, {SEALS - 1}) AS g"
    )
    log.query(
        "INSERT INTO clm_audit.seals (batch, ledger_epoch, from_xid, to_xid, records, total, root, previous, sealed_at,"
        f" key_id, note, leaves) SELECT 1000 + g, 1, ({base} + g)::text::xid8, ({base} + g + 1)::text::xid8, 1,"
        " 1000 + g, root, previous, sealed_at, key_id, note, root"
        " FROM (SELECT * FROM clm_audit.seals WHERE batch = 1) AS s,"
        f" generate_series(0, {SEALS - 1}) AS g"
    )
    archive = _archive(log, tmp_path, NEXT, recorded=False)
    many = str(archive.note).replace("archive 2026-02", "archive 2026-01").replace("records 2", f"records {SEALS + 4}")
    first, last = f"batches {archive.manifest.first_batch} ", f"batches 1 {1000 + SEALS - 1}\n"
    many = many.replace(next(line for line in many.splitlines(keepends=True) if line.startswith(first)), last)
    dsn = log.as_role("clm_archiver")
    record_archive(dsn, replace(archive.row(PARTITION), month=MONTH, records=SEALS + 4, manifest=many))
    # The record of it has a real transaction, which lies before the seals that were made up.
    log.query("UPDATE clm_audit.seals SET to_xid = '10000000' WHERE batch = 3")
    before = _seals_read(log)
    assert drop_archived_partition(dsn, MONTH, manifest_sha256=hashlib.sha256(many.encode()).digest()) == SEALS + 4
    with open_ledger(dsn, log.ledger) as ledger:
        for number in (0, SEALS - 1):
            seal = ledger.seal_of(epoch=1, txid=base + number)
            assert seal is not None
            assert seal.batch == 1000 + number
        assert ledger.seal_of(epoch=1, txid=base + SEALS) is None
    deadline = time.monotonic() + 20
    while (read := _seals_read(log) - before) == 0:
        assert time.monotonic() < deadline, "nothing was counted"
    assert read < 10 * SEALS


def _seals_read(log: Log) -> int:
    ((number,),) = log.query(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_all_tables WHERE relid = 'clm_audit.seals'::regclass"
    )
    return int(number)


def _archive_of(log: Log, record: str, batch: int) -> Manifest:
    """Put on record, and have sealed, an archive of February that holds this one record of that batch, alone in it."""
    ((leaves,),) = log.query("SELECT leaves FROM clm_audit.seals WHERE batch = %s", batch)
    with open_ledger(log.as_role("clm_archiver"), log.ledger) as ledger:
        line = ledger.record(uuid.UUID(record))
    assert line is not None
    leaf = leaf_of(values_of_line(line))
    assert leaf.witness is not None
    manifest = Manifest(
        origin=log.origin,
        month=NEXT,
        records=1,
        root=root_of([leaf.hash]),
        first_batch=batch,
        last_batch=batch,
        partial={batch: frozenset({hashes_of(bytes(leaves)).index(leaf.hash)})},
        witnesses={batch: frozenset({leaf.witness})},
    )
    note = asyncio.run(sign_note(manifest.text(), log.signer))
    row = ArchiveRow(
        month=NEXT, partition="", records=1, key_id=log.signer.key_id, manifest=str(note), location="elsewhere"
    )
    record_archive(log.as_role("clm_archiver"), row)
    log.seal()
    return manifest


def test_not_dropped_with_something_new(old: Log, tmp_path: Path) -> None:
    """A partition that holds more than was archived stays."""
    archive = _archive(old, tmp_path)
    _at(old, "2026-01-31 13:00Z", "late")
    with pytest.raises(AuditFailed, match="5 records, 1 of them not sealed"):
        _drop(old, archive)


def test_only_sealed_and_unchanged_is_archived(old: Log, tmp_path: Path) -> None:
    """What is not sealed, or not as it was sealed, is not archived."""
    _at(old, "2026-01-31 13:00Z", "late")
    with pytest.raises(ArchiveInvalid, match="not sealed yet"):
        _archive(old, tmp_path)
    old.seal()
    old.query(f"UPDATE {old.table} SET actor_id = 'other' WHERE object_id = 'object-0'")
    with pytest.raises(ArchiveInvalid, match="not as it was sealed"):
        _archive(old, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".unfinished"]


def test_running_month_is_not_archived(log: Log, tmp_path: Path) -> None:
    """A month that is not over is not archived."""
    with pytest.raises(ArchiveInvalid, match="not over"):
        _archive(log, tmp_path, date(2100, 1, 1))


def test_removed_after_archiving(old: Log, tmp_path: Path) -> None:
    """An archive excuses a dropped partition, not a single missing record."""
    _archive(old, tmp_path)
    old.query(f"DELETE FROM {old.table} WHERE object_id = 'object-0'")
    (problem,) = old.verify().problems
    assert "2 of the 4 records archived" in problem.what


@pytest.mark.parametrize("recorded", [False, True])
def test_archive_of_a_former_key(log: Log, recorded: bool) -> None:  # noqa: FBT001
    """Who has a former sealing key cannot have records removed by a manifest of it, nor when a record tells of that."""
    former = log.signer
    log.write("key.generate")
    log.seal()
    log.rotate()
    log.write("key.destroy")
    log.seal()
    victim = log.write("key.activate")
    log.seal()
    ((leaves,),) = log.query("SELECT leaves FROM clm_audit.seals WHERE batch = 3")
    root = root_of(hashes_of(bytes(leaves)))
    manifest = Manifest(origin=log.origin, month=MONTH, records=1, root=root, first_batch=3, last_batch=3)
    note = asyncio.run(sign_note(manifest.text(), former))
    row = "INSERT INTO clm_audit.archives (month, partition, records, key_id, manifest, location)"
    log.query(f"{row} VALUES (%s, %s, 1, %s, %s, '/x')", MONTH, PARTITION, former.key_id, str(note))
    if recorded:
        # The archiver's user can have any manifest recorded; the sealer then seals that.
        log.query(
            "SELECT set_config('x.y', '', false), clm_guard.record_act('audit.archive', %s, NULL, %s)",
            PARTITION,
            f'{{"manifest_sha256":"{manifest_sha256(note).hex()}","records":1}}',
        )
        log.seal()
        log.write("key.activate")
        log.seal()
    log.query(f"DELETE FROM {log.table} WHERE id = %s", victim[0])
    (problem,) = log.verify(keys=[former.spki, log.signer.spki]).problems
    assert "1 records are missing that an archive of 2026-01 is said to hold, and no sealed record" in problem.what


def test_record_of_the_archive_removed(old: Log, tmp_path: Path) -> None:
    """An archive that was dropped stays excused only as long as the sealed record of it stands."""
    _drop(old, _archive(old, tmp_path))
    old.query(f"DELETE FROM {old.table} WHERE action = 'audit.archive'")
    whats = [problem.what for problem in old.verify().problems]
    assert whats[0] == "a record was removed"
    assert "4 records are missing that an archive of 2026-01 is said to hold" in whats[1]


def test_record_of_the_archive_archived(old: Log, tmp_path: Path) -> None:
    """When the record of an archive has gone with a later archive, that one vouches for the first."""
    _drop(old, _archive(old, tmp_path))
    # As years later: what was written this month stands in a partition of its own, which is over.
    ((later,),) = old.query(f"SELECT id::text FROM {old.table} WHERE action = 'audit.archive'")
    sealed = old.query("SELECT max(batch) FROM clm_audit.seals")[0][0]
    archive = _archive_of(old, later, sealed)
    old.query(f"DELETE FROM {old.table} WHERE id = %s", later)
    report = old.verify()
    assert (report.problems, report.archived) == ([], 5)
    assert archive.witnesses


def test_compromised_key_archives_nothing_more(old: Log, tmp_path: Path) -> None:
    """An archive by a key that was called compromised before counts for nothing."""
    before = Checkpoint.parse(old.newest().text)
    _drop(old, _archive(old, tmp_path))
    assert isinstance(old.signer, FileSigner)
    ends: Ends = {hashlib.sha256(old.signer.spki).digest(): before}
    old.rotate()
    keys = [old.former[0].spki, old.signer.spki]
    assert old.verify(keys=keys).problems == []
    whats = [problem.what for problem in old.verify(keys=keys, ends=ends).problems]
    assert any("4 records are missing" in what for what in whats)


def test_forged_archive_excuses_nothing(old: Log, tmp_path: Path) -> None:
    """An archive on record whose manifest was changed is named, and what is missing is missed."""
    archive = _archive(old, tmp_path)
    _drop(old, archive)
    old.query("UPDATE clm_audit.archives SET manifest = replace(manifest, 'records 4', 'records 3'), records = 3")
    problems = old.verify().problems
    assert "manifest of the archive of 2026-01 is not genuine" in problems[0].what
    assert [problem.what for problem in problems[1:]] == ["a record was removed"] * 4


@pytest.mark.parametrize("damage", ["record", "cut", "manifest"])
def test_damaged_archive(old: Log, tmp_path: Path, damage: str) -> None:
    """An archive that was changed, cut or signed by nobody is not taken for one."""
    folder = _archive(old, tmp_path).folder
    if damage == "manifest":
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        (folder / MANIFEST).write_text(text.replace("records 4", "records 3"), encoding="utf-8")
    else:
        lines = gzip.decompress((folder / RECORDS).read_bytes()).splitlines(keepends=True)
        changed = lines[:-1] if damage == "cut" else [lines[0].replace(b"test", b"tesu"), *lines[1:]]
        (folder / RECORDS).write_bytes(gzip.compress(b"".join(changed)))
    with pytest.raises(ArchiveInvalid):
        read_archive(folder, keys=[old.signer.spki])


def test_archives_are_only_added(old: Log, tmp_path: Path) -> None:
    """Nobody changes what is recorded of an archive, the owner included."""
    _archive(old, tmp_path)
    with old.connect(old.as_role("clm_owner")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE clm_audit.archives SET location = ''")


def _at(log: Log, moment: str, object_id: str) -> None:
    log.query(
        f"INSERT INTO {log.table} (occurred_at, organization_id, actor_type, actor_id, action, object_type, object_id)"
        " VALUES (%s, gen_random_uuid(), 'system', 'test', 'key.generate', 'key', %s)",
        moment,
        object_id,
    )


def _archive(
    log: Log,
    folder: Path,
    month: date = MONTH,
    *,
    keys: list[bytes] | None = None,
    anchor: Checkpoint | None = None,
    recorded: bool = True,
    witnessed: bool = True,
) -> Archive:
    dsn = log.as_role("clm_archiver")
    with open_ledger(dsn, log.ledger) as ledger:
        partition = partition_of(ledger, month)
        archive = asyncio.run(
            write_archive(
                ledger,
                month,
                folder,
                signer=log.signer,
                origin=log.origin,
                trust=Trust.of([log.signer.spki] if keys is None else keys, None),
                anchor=anchor,
            )
        )
    if recorded:
        record_archive(dsn, archive.row(partition))
        if witnessed:
            log.seal()
    return archive


def _drop(log: Log, archive: Archive, month: date = MONTH) -> int:
    return drop_archived_partition(log.as_role("clm_archiver"), month, manifest_sha256=manifest_sha256(archive.note))
