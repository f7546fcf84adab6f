"""The proof that a log is what was sealed.

Seals and records come in once, both in their order, one batch at a time. A note with a good signature tells what the
batch was: how many records, and the root over them. The hashes in the seal, which that root proves, tell which record
was changed, which is missing and which was not there. Every note names the one before, so none can be left out; that
none is missing at the end, only a checkpoint from outside the database can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.audit.align import align
from clm.audit.checkpoint import NO_PREVIOUS, Checkpoint, Origin, SignedNote
from clm.audit.covered import Archived
from clm.audit.report import Report
from clm.audit.tree import hashes_of, root_of
from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clm.audit.leaf import Leaf
    from clm.audit.source import Source
    from clm.resources.seals import SealRow


def verify(
    source: Source, *, keys: Sequence[bytes] = (), anchor: SignedNote | None = None, origin: Origin | None = None
) -> Report:
    """Verify one log.

    `keys` are the public keys that are trusted (SPKI, DER); without any, those that the source names are taken, and the
    report says so: who can write the database can then forge it all. `anchor` is the newest checkpoint that is known
    from elsewhere, `origin` the log that it must be. Raises RecordUnreadable, NoteInvalid (for the anchor),
    DatabaseUnavailable.
    """
    report = Report(source.database, keys_from_source=not keys)
    named = source.keys()
    trusted = list(keys) or list(named.values())
    if anchor is not None:
        anchor.verify(trusted)
        report.anchored = Checkpoint.parse(anchor.text)
        origin = origin or report.anchored.origin
    for key_id, spki in named.items():
        if spki not in trusted:
            report.add(f"the database names a sealing key {key_id} that is not trusted")
    archived = Archived.read(source.archives(), trusted, origin, report)
    _Walk(source, report, trusted, archived, origin).run()
    return report


@dataclass(slots=True)
class _Walk:
    """One pass over seals and records."""

    source: Source
    report: Report
    trusted: Sequence[bytes]
    archived: Archived
    origin: Origin | None
    last: Checkpoint | None = None
    pending: Leaf | None = None
    leaves: Iterator[Leaf] = field(init=False)

    def run(self) -> None:
        self.leaves = self.source.leaves()
        self.pending = next(self.leaves, None)
        for seal in self.source.seals():
            checkpoint, signed = self._checkpoint(seal)
            self._before(checkpoint)
            batch = self._take(checkpoint)
            self.report.batches += 1
            self.report.records += len(batch)
            self._compare(checkpoint, seal, batch, signed=signed)
            self._anchored(checkpoint)
            self.last = checkpoint
        self.report.newest = self.last
        self._tail()
        self._end_of_anchor()
        self.archived.finish(self.report)

    def _checkpoint(self, seal: SealRow) -> tuple[Checkpoint, bool]:
        """What was signed of a batch; what the columns say where that cannot be known."""
        try:
            note = SignedNote.parse(seal.note)
            note.verify(self.trusted)
            checkpoint = Checkpoint.parse(note.text)
        except NoteInvalid as error:
            self.report.add(f"the seal is not genuine: {error}", batch=seal.batch)
            return _by_columns(seal, self.origin), False
        if self.origin is None:
            self.origin = checkpoint.origin
        if checkpoint.origin != self.origin or checkpoint.origin.database != self.report.database:
            self.report.add(f"the seal is of another log: {checkpoint.origin}", batch=seal.batch)
        differing = [name for name in _COLUMNS if getattr(seal, name) != getattr(checkpoint, name)]
        if seal.key_id != note.key_id:
            differing.append("key_id")
        if differing:
            self.report.add(f"the seal's columns are not what was signed: {', '.join(differing)}", batch=seal.batch)
        return checkpoint, True

    def _before(self, checkpoint: Checkpoint) -> None:
        """Check that the batch follows the one before, and tell what stands between them."""
        last, add = self.last, self.report.add
        expected = 1 if last is None else last.batch + 1
        if checkpoint.batch > expected:
            gap = f"{expected}" if checkpoint.batch == expected + 1 else f"{expected} to {checkpoint.batch - 1}"
            add(f"seals are missing: batch {gap}", batch=checkpoint.batch)
        elif checkpoint.batch < expected:
            add("the seal stands twice or in a wrong place", batch=checkpoint.batch)
        else:
            self._chain(checkpoint)
        stray = self._stray(checkpoint)
        if stray:
            first, number = stray
            more = "" if number == 1 else f", and {number - 1} more after it"
            add(f"a record stands in no sealed range{more}: inserted, or its seal is gone", record=first.id)

    def _chain(self, checkpoint: Checkpoint) -> None:
        last = self.last
        new_epoch = last is None or last.epoch != checkpoint.epoch
        if last is not None and checkpoint.epoch < last.epoch:
            self.report.add("the seal goes back to an earlier epoch", batch=checkpoint.batch)
        if checkpoint.previous != (last.digest() if last is not None else NO_PREVIOUS):
            self.report.add("the seal follows another batch than the one that stands before it", batch=checkpoint.batch)
        if checkpoint.from_xid != (0 if last is None or new_epoch else last.to_xid):
            self.report.add("the seal does not begin where the one before ends", batch=checkpoint.batch)
        if checkpoint.total != checkpoint.records + (last.total if last is not None else 0):
            self.report.add("the seal counts other records before it than there were", batch=checkpoint.batch)

    def _stray(self, checkpoint: Checkpoint) -> tuple[Leaf, int] | None:
        first, number = None, 0
        while (leaf := self.pending) is not None and (leaf.epoch, leaf.txid) < (checkpoint.epoch, checkpoint.from_xid):
            first, number = first or leaf, number + 1
            self.report.records += 1
            self.pending = next(self.leaves, None)
        return None if first is None else (first, number)

    def _take(self, checkpoint: Checkpoint) -> list[Leaf]:
        batch = []
        while (leaf := self.pending) is not None and (leaf.epoch, leaf.txid) < (checkpoint.epoch, checkpoint.to_xid):
            batch.append(leaf)
            if leaf.fault is not None:
                self.report.add(leaf.fault, batch=checkpoint.batch, record=leaf.id)
            self.pending = next(self.leaves, None)
        return batch

    def _compare(self, checkpoint: Checkpoint, seal: SealRow, batch: Sequence[Leaf], *, signed: bool) -> None:
        sealed = hashes_of(seal.leaves)
        proven = signed and len(sealed) == checkpoint.records and root_of(sealed) == checkpoint.root
        standing = [leaf.hash for leaf in batch]
        if signed and not proven:
            self.report.add("the seal's leaf hashes are not what was signed", batch=checkpoint.batch)
            if len(standing) != checkpoint.records or root_of(standing) != checkpoint.root:
                self.report.add("records are not what was sealed; which, cannot be told", batch=checkpoint.batch)
        elif sealed != standing:
            self._differences(checkpoint.batch, sealed, batch)

    def _differences(self, number: int, sealed: Sequence[bytes], batch: Sequence[Leaf]) -> None:
        for difference in align(sealed, batch):
            position, leaf = difference.position, difference.leaf
            if position is not None and self.archived.takes(number, position, sealed[position]):
                if leaf is None:
                    self.report.archived += 1
                    continue
                position = None
            if position is None:
                what = "a record was inserted"
            else:
                what = "a record was removed" if leaf is None else "a record was changed"
            at = position if position is not None else difference.before
            self.report.add(what, batch=number, position=at, record=leaf.id if leaf is not None else None)

    def _anchored(self, checkpoint: Checkpoint) -> None:
        anchored = self.report.anchored
        if anchored is not None and checkpoint.batch == anchored.batch and checkpoint.text() != anchored.text():
            self.report.add("the seal is not the one that is anchored: the log was replaced", batch=checkpoint.batch)

    def _end_of_anchor(self) -> None:
        anchored, end = self.report.anchored, self.last.batch if self.last is not None else 0
        if anchored is not None and anchored.batch > end:
            self.report.add(
                f"the log ends with batch {end}, and batch {anchored.batch} of {anchored.sealed_at:%Y-%m-%d %H:%M:%S}"
                " UTC is anchored: it was rolled back or cut",
                batch=end or None,
            )

    def _tail(self) -> None:
        """What comes after the newest seal: not sealed yet, or out of place."""
        last, newest_epoch = self.last, self.source.epoch()
        while (leaf := self.pending) is not None:
            self.report.records += 1
            if leaf.fault is not None:
                self.report.add(leaf.fault, record=leaf.id)
            if leaf.epoch > newest_epoch or (last is not None and leaf.epoch < last.epoch):
                self.report.add(f"a record stands in epoch {leaf.epoch}, which takes none", record=leaf.id)
            else:
                self.report.unsealed += 1
                since = self.report.unsealed_since
                self.report.unsealed_since = min(since, leaf.occurred_at) if since else leaf.occurred_at
            self.pending = next(self.leaves, None)


_COLUMNS = ("batch", "epoch", "from_xid", "to_xid", "records", "total", "root", "previous", "sealed_at")


def _by_columns(seal: SealRow, origin: Origin | None) -> Checkpoint:
    values = {name: getattr(seal, name) for name in _COLUMNS}
    return Checkpoint(origin=origin or Origin(seal.key_id, "unknown"), **values)
