"""A month leaves the database only when it is proven to stand in files, and the rest stays provable."""

from __future__ import annotations

import gzip
from datetime import date
from typing import TYPE_CHECKING

import psycopg
import pytest

from clm.audit.archive import MANIFEST, RECORDS, read_archive
from clm.errors import ArchiveInvalid, AuditFailed
from clm.storage.ledger import drop_archived_partition
from tests.integration.audit.months import MONTH, NEXT, PARTITION, archived, dropped, put_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.audit.conftest import Log


def test_archived_and_dropped(old: Log, tmp_path: Path) -> None:
    """The partition goes, the log still verifies, and an inclusion in the archive proves itself from files alone."""
    archive = archived(old, tmp_path)
    assert archive.manifest.partial == {2: frozenset({0, 2})}
    assert old.verify().problems == []
    assert dropped(old, archive) == 4
    assert old.query("SELECT to_regclass(%s)::text", f"clm_audit_parts.{PARTITION}") == [(None,)]
    report = old.verify()
    assert (report.problems, report.archived) == ([], 4)
    assert read_archive(archive.folder, keys=[old.signer.spki]).manifest == archive.manifest
    actions = old.query(f"SELECT action, actor_id <> '' FROM {old.table} WHERE action LIKE 'audit.%%' ORDER BY txid")
    assert actions == [("audit.archive", True), ("audit.drop", True)]


def test_both_months_dropped(old: Log, tmp_path: Path) -> None:
    """A batch whose records went with two archives is whole between them."""
    for month in (MONTH, NEXT):
        dropped(old, archived(old, tmp_path, month), month)
    report = old.verify()
    assert (report.problems, report.archived) == ([], 6)


def test_not_dropped_unarchived(old: Log) -> None:
    """Without an archive on record nothing is dropped."""
    with pytest.raises(AuditFailed, match="2026-01 is not archived"):
        drop_archived_partition(old.as_role("clm_archiver"), MONTH, manifest_sha256=bytes(32))


def test_not_dropped_by_another_manifest(old: Log, tmp_path: Path) -> None:
    """Who drops has to have the manifest."""
    archived(old, tmp_path)
    with pytest.raises(AuditFailed, match="not the manifest"):
        drop_archived_partition(old.as_role("clm_archiver"), MONTH, manifest_sha256=bytes(32))


def test_not_dropped_with_something_new(old: Log, tmp_path: Path) -> None:
    """A partition that holds more than was archived stays."""
    archive = archived(old, tmp_path)
    put_at(old, "2026-01-31 13:00Z", "late")
    with pytest.raises(AuditFailed, match="5 records, 1 of them not sealed"):
        dropped(old, archive)


def test_only_sealed_and_unchanged_is_archived(old: Log, tmp_path: Path) -> None:
    """What is not sealed, or not as it was sealed, is not archived."""
    put_at(old, "2026-01-31 13:00Z", "late")
    with pytest.raises(ArchiveInvalid, match="not sealed yet"):
        archived(old, tmp_path)
    old.seal()
    old.query(f"UPDATE {old.table} SET actor_id = 'other' WHERE object_id = 'object-0'")
    with pytest.raises(ArchiveInvalid, match="not as it was sealed"):
        archived(old, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".unfinished"]


def test_running_month_is_not_archived(log: Log, tmp_path: Path) -> None:
    """A month that is not over is not archived."""
    with pytest.raises(ArchiveInvalid, match="not over"):
        archived(log, tmp_path, date(2100, 1, 1))


def test_removed_after_archiving(old: Log, tmp_path: Path) -> None:
    """An archive excuses a dropped partition, not a single missing record."""
    archived(old, tmp_path)
    old.query(f"DELETE FROM {old.table} WHERE object_id = 'object-0'")
    (problem,) = old.verify().problems
    assert "2 of the 4 records archived" in problem.what


def test_forged_archive_excuses_nothing(old: Log, tmp_path: Path) -> None:
    """An archive on record whose manifest was changed is named, and what is missing is missed."""
    archive = archived(old, tmp_path)
    dropped(old, archive)
    old.query("UPDATE clm_audit.archives SET manifest = replace(manifest, 'records 4', 'records 3'), records = 3")
    problems = old.verify().problems
    assert "manifest of the archive of 2026-01 is not genuine" in problems[0].what
    assert [problem.what for problem in problems[1:]] == ["a record was removed"] * 4


@pytest.mark.parametrize("damage", ["record", "cut", "manifest"])
def test_damaged_archive(old: Log, tmp_path: Path, damage: str) -> None:
    """An archive that was changed, cut or signed by nobody is not taken for one."""
    folder = archived(old, tmp_path).folder
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
    archived(old, tmp_path)
    with old.connect(old.as_role("clm_owner")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE clm_audit.archives SET location = ''")
