"""Records that are missing because they were archived.

An archive is believed when its manifest is signed, and when a sealed record tells that just this manifest was made: who
only has a key, the present one or a former one, cannot add an archive unseen. The manifest names the records that it
holds by batch and position. Either all of them are missing, since the partition was dropped, or none: a single one that
is missing was removed. The record of an archive may itself have gone with a later one; then that one's manifest tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.audit.archive import read_archive
from clm.audit.checkpoint import SignedNote
from clm.audit.manifest import Manifest, witness_of
from clm.audit.tree import TreeHasher
from clm.errors import ArchiveInvalid, NoteInvalid
from clm.resources.seals import DATABASES, TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clm.audit.checkpoint import Origin
    from clm.audit.report import Report
    from clm.audit.source import Source
    from clm.audit.trust import Trust
    from clm.resources.seals import ArchiveRow


@dataclass(slots=True)
class _Missing:
    manifest: Manifest
    witness: str
    spki: bytes
    tree: TreeHasher = field(default_factory=TreeHasher)


@dataclass(frozen=True, slots=True)
class Archived:
    """The archives of one log, which of their records were found missing, and which records tell of an archive."""

    missing: list[_Missing]
    trust: Trust
    sealed: dict[str, int] = field(default_factory=dict)
    unsealed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, rows: Sequence[ArchiveRow], trust: Trust, origin: Origin | None, report: Report) -> Archived:
        """Take the archives whose manifests are signed; the others are problems."""
        missing = []
        table = next((TABLES[ledger] for ledger, name in DATABASES.items() if name == report.database), "")
        for row in rows:
            try:
                note = SignedNote.parse(row.manifest)
                spki = note.verify(trust.keys)
                manifest = Manifest.parse(note.text)
            except NoteInvalid as error:
                report.add(f"the manifest of the archive of {row.month:%Y-%m} is not genuine: {error}")
                continue
            of_this_log = manifest.origin.database == report.database and origin in {None, manifest.origin}
            if not of_this_log or (manifest.month, manifest.records) != (row.month, row.records):
                report.add(f"the archive of {row.month:%Y-%m} is not what was signed")
            else:
                partition = f"{table}_{manifest.month:%Y_%m}"
                missing.append(_Missing(manifest, witness_of(partition, row.manifest), spki))
        return cls(missing, trust)

    def takes(self, batch: int, position: int, leaf: bytes) -> bool:
        """Whether a missing record is in an archive; it then counts as gone with it."""
        for archive in self.missing:
            if archive.manifest.holds(batch, position):
                archive.tree.append(leaf)
                return True
        return False

    def finish(self, report: Report) -> None:
        """Check that what is missing is all of an archive that is on the sealed record, and what its manifest says."""
        believed = self._believed()
        for archive in self.missing:
            manifest, gone = archive.manifest, archive.tree.size
            if archive.witness not in believed:
                if gone:
                    report.add(
                        f"{gone} records are missing that an archive of {manifest.month:%Y-%m} is said to hold, and no"
                        " sealed record tells of that archive under a key that sealed then: they were removed"
                    )
                elif archive.witness not in self.unsealed:
                    report.add(f"no record tells of the archive of {manifest.month:%Y-%m}")
            elif gone not in {0, manifest.records}:
                report.add(
                    f"{gone} of the {manifest.records} records archived for {manifest.month:%Y-%m} are missing: removed"
                    " after they were archived"
                )
            elif gone and archive.tree.root() != manifest.root:
                report.add(f"the archive of {manifest.month:%Y-%m} does not hold what is missing")

    def _believed(self) -> set[str]:
        """Archives that a sealed record tells of, or the manifest of one that is believed."""
        told, believed, before = dict(self.sealed), set[str](), -1
        while len(believed) > before:
            before = len(believed)
            for archive in self.missing:
                batch = told.get(archive.witness)
                if batch is None or archive.witness in believed:
                    continue
                sealed_then = self.trust.sealed_at(archive.spki, batch)
                if sealed_then and self.trust.holds(archive.spki, batch=batch):
                    believed.add(archive.witness)
                    for of_batch, witnesses in archive.manifest.witnesses.items():
                        told.update(dict.fromkeys(witnesses - told.keys(), of_batch))
        return believed


def prove_archives(source: Source, directory: Path, keys: Sequence[bytes], report: Report) -> None:
    """Read every archive that is on record from below `directory`, and prove it from its files."""
    for row in source.archives():
        folder = directory / f"{source.database}-{row.month:%Y-%m}"
        try:
            archive = read_archive(folder, keys=keys)
        except ArchiveInvalid as error:
            report.add(f"the archive of {row.month:%Y-%m} does not hold: {error}")
            continue
        if str(archive.note) != row.manifest:
            report.add(f"the archive of {row.month:%Y-%m} in {folder} is another than the one on record")
