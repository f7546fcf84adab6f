"""An archive is made of proven seals only, excuses nothing without a sealed record, and is dropped only with one."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from clm.audit.checkpoint import Checkpoint, sign_note
from clm.audit.leaf import leaf_of, values_of_line
from clm.audit.manifest import Manifest, manifest_sha256
from clm.audit.tree import hashes_of, root_of
from clm.errors import ArchiveInvalid, AuditFailed
from clm.resources.seals import ArchiveRow
from clm.storage.ledger import archive_is_sealed, drop_archived_partition, open_ledger, record_archive
from tests.integration.audit.conftest import FileSigner
from tests.integration.audit.months import MONTH, NEXT, PARTITION, archived, dropped, put_at

if TYPE_CHECKING:
    from pathlib import Path

    from clm.audit.anchor import Ends
    from tests.integration.audit.conftest import Log


def test_not_dropped_before_its_record_is_sealed(old: Log, tmp_path: Path) -> None:
    """The archiver's user alone drops nothing: the operator's has to have sealed the record of the archive."""
    archive = archived(old, tmp_path, witnessed=False)
    dsn = old.as_role("clm_archiver")
    assert not archive_is_sealed(dsn, MONTH)
    with pytest.raises(AuditFailed, match="the record of the archive is not sealed yet"):
        dropped(old, archive)
    old.seal()
    assert archive_is_sealed(dsn, MONTH)
    assert dropped(old, archive) == 4


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
    archive = archived(old, tmp_path, recorded=False)
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
    archive = archived(old, tmp_path, recorded=False)
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
    put_at(old, f"{last} 12:00Z", "last month")
    old.seal()
    archive = archived(old, tmp_path, last)
    with pytest.raises(AuditFailed, match="has not been over for 90 days"):
        dropped(old, archive, last)


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
        archived(old, tmp_path, keys=keys, anchor=anchor)
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
    archive = archived(log, tmp_path, NEXT, recorded=False)
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
    dropped(old, archived(old, tmp_path))
    old.query(f"DELETE FROM {old.table} WHERE action = 'audit.archive'")
    whats = [problem.what for problem in old.verify().problems]
    assert whats[0] == "a record was removed"
    assert "4 records are missing that an archive of 2026-01 is said to hold" in whats[1]


def test_record_of_the_archive_archived(old: Log, tmp_path: Path) -> None:
    """When the record of an archive has gone with a later archive, that one vouches for the first."""
    dropped(old, archived(old, tmp_path))
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
    dropped(old, archived(old, tmp_path))
    assert isinstance(old.signer, FileSigner)
    ends: Ends = {hashlib.sha256(old.signer.spki).digest(): before}
    old.rotate()
    keys = [old.former[0].spki, old.signer.spki]
    assert old.verify(keys=keys).problems == []
    whats = [problem.what for problem in old.verify(keys=keys, ends=ends).problems]
    assert any("4 records are missing" in what for what in whats)
