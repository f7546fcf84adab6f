"""Records that are missing because they were archived.

An archive is believed for the signature of its manifest, which names the records it holds by batch and position. Either
all of them are missing, since the partition was dropped, or none: a single one that is missing was removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.audit.archive import read_archive
from clm.audit.checkpoint import SignedNote
from clm.audit.manifest import Manifest
from clm.audit.tree import TreeHasher
from clm.errors import ArchiveInvalid, NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clm.audit.checkpoint import Origin
    from clm.audit.report import Report
    from clm.audit.source import Source
    from clm.resources.seals import ArchiveRow


@dataclass(slots=True)
class _Missing:
    manifest: Manifest
    tree: TreeHasher = field(default_factory=TreeHasher)


@dataclass(frozen=True, slots=True)
class Archived:
    """The archives of one log, and which of their records were found missing."""

    missing: list[_Missing]

    @classmethod
    def read(
        cls, rows: Sequence[ArchiveRow], trusted: Sequence[bytes], origin: Origin | None, report: Report
    ) -> Archived:
        """Take the archives whose manifests are genuine; the others are problems."""
        missing = []
        for row in rows:
            try:
                note = SignedNote.parse(row.manifest)
                note.verify(trusted)
                manifest = Manifest.parse(note.text)
            except NoteInvalid as error:
                report.add(f"the manifest of the archive of {row.month:%Y-%m} is not genuine: {error}")
                continue
            of_this_log = manifest.origin.database == report.database and origin in {None, manifest.origin}
            if not of_this_log or (manifest.month, manifest.records) != (row.month, row.records):
                report.add(f"the archive of {row.month:%Y-%m} is not what was signed")
            else:
                missing.append(_Missing(manifest))
        return cls(missing)

    def takes(self, batch: int, position: int, leaf: bytes) -> bool:
        """Whether a missing record is in an archive; it then counts as gone with it."""
        for archive in self.missing:
            if archive.manifest.holds(batch, position):
                archive.tree.append(leaf)
                return True
        return False

    def finish(self, report: Report) -> None:
        """Check that what is missing is all of an archive, and what its manifest says."""
        for archive in self.missing:
            manifest, gone = archive.manifest, archive.tree.size
            if gone not in {0, manifest.records}:
                report.add(
                    f"{gone} of the {manifest.records} records archived for {manifest.month:%Y-%m} are missing: removed"
                    " after they were archived"
                )
            elif gone and archive.tree.root() != manifest.root:
                report.add(f"the archive of {manifest.month:%Y-%m} does not hold what is missing")


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
