"""The proof that a log is what was sealed.

Seals and records come in once, both in their order, one batch at a time. A note with a good signature tells what the
batch was: how many records, and the root over them. The hashes in the seal, which that root proves, tell which record
was changed, which is missing and which was not there. Every note names the one before, so none can be left out; that
none is missing at the end, only a checkpoint from outside the database can tell.

Transaction ids and times are the database's word, and who has all rights on it can insert a record with others: an id
that no transaction has had yet, which no seal would reach, or a time much before what was sealed before it. Both are
found.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from clm.audit.align import align
from clm.audit.checkpoint import NO_PREVIOUS, Checkpoint, Origin, SignedNote, format_time, parse_time
from clm.audit.covered import Archived
from clm.audit.report import Report
from clm.audit.tree import hashes_of, root_of
from clm.audit.trust import Trust
from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clm.audit.anchor import Ends
    from clm.audit.leaf import Leaf
    from clm.audit.source import Source
    from clm.resources.seals import SealRow


TIME_SLACK = timedelta(hours=1)
"""How far the time of a record may lie before the records sealed before it, or after its own seal: transactions take
their time, and the clocks of database and sealer differ."""


def verify(
    source: Source,
    *,
    keys: Sequence[bytes] = (),
    anchor: SignedNote | None = None,
    origin: Origin | None = None,
    ends: Ends | None = None,
) -> Report:
    """Verify one log.

    `keys` are the public keys that are trusted (SPKI, DER); without any, those that the source names are taken, and the
    report says so: who can write the database can then forge it all. `anchor` is the newest checkpoint that is known
    from elsewhere, `origin` the log that it must be, `ends` until when keys are trusted that were called compromised.
    Raises RecordUnreadable, NoteInvalid (for the anchor), DatabaseUnavailable.
    """
    report = Report(source.database, keys_from_source=not keys)
    named = source.keys()
    trusted = list(keys) or list(named.values())
    trust = Trust.of(trusted, ends)
    if anchor is not None:
        report.anchored = Checkpoint.parse(anchor.text)
        trust.check(anchor, batch=report.anchored.batch)
        origin = origin or report.anchored.origin
    for key_id, spki in named.items():
        if spki not in trusted:
            report.add(f"the database names a sealing key {key_id} that is not trusted")
    archived = Archived.read(source.archives(), trust, origin, report)
    _Walk(source, report, trust, archived, origin).run()
    return report


@dataclass(slots=True)
class _Walk:
    """One pass over seals and records."""

    source: Source
    report: Report
    trust: Trust
    archived: Archived
    origin: Origin | None
    last: Checkpoint | None = None
    written_until: str = ""
    earliest: str = ""
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
            self._times(checkpoint, batch)
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
            checkpoint = Checkpoint.parse(note.text)
            self.trust.signed(checkpoint.batch, self.trust.check(note, batch=checkpoint.batch))
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
        else:
            if sealed != standing:
                self._differences(checkpoint.batch, sealed, batch)
            witnesses = [leaf for leaf in batch if leaf.witness is not None]
            if proven and witnesses:
                genuine = frozenset(sealed)
                self.archived.sealed.update(
                    (leaf.witness, checkpoint.batch) for leaf in witnesses if leaf.witness and leaf.hash in genuine
                )

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

    def _times(self, checkpoint: Checkpoint, batch: Sequence[Leaf]) -> None:
        """Check that records are about as old as their place says. Times are written so that they compare as text."""
        latest = format_time(checkpoint.sealed_at + TIME_SLACK)
        for leaf in batch:
            if leaf.occurred_at > latest:
                self._out_of_time(leaf, f"was sealed at {checkpoint.sealed_at:%Y-%m-%d %H:%M:%S} UTC", checkpoint.batch)
            else:
                self._backdated(leaf, checkpoint.batch)
        # After an outage many batches are sealed at once, all of them old: then it is their records that tell the time.
        newest = max((leaf.occurred_at for leaf in batch), default="")
        self.written_until = max(self.written_until, min(newest, format_time(checkpoint.sealed_at)))
        if self.written_until:
            self.earliest = format_time(parse_time(self.written_until) - TIME_SLACK)

    def _backdated(self, leaf: Leaf, batch: int | None) -> None:
        if leaf.occurred_at < self.earliest:
            self._out_of_time(leaf, f"comes after records of {self.written_until}", batch)

    def _out_of_time(self, leaf: Leaf, but: str, batch: int | None) -> None:
        self.report.add(f"a record is said to be of {leaf.occurred_at}, and {but}", batch=batch, record=leaf.id)

    def _anchored(self, checkpoint: Checkpoint) -> None:
        for anchored in self._known():
            if checkpoint.batch == anchored.batch and checkpoint.text() != anchored.text():
                self.report.add(
                    "the seal is not the one that is anchored: the log was replaced", batch=checkpoint.batch
                )

    def _known(self) -> list[Checkpoint]:
        """What is known of the log from outside, each checkpoint once."""
        known = [self.report.anchored, *self.trust.ends.values()]
        return list({checkpoint.text(): checkpoint for checkpoint in known if checkpoint is not None}.values())

    def _end_of_anchor(self) -> None:
        end = self.last.batch if self.last is not None else 0
        anchored = max(self._known(), key=lambda checkpoint: checkpoint.batch, default=None)
        if anchored is not None and anchored.batch > end:
            self.report.add(
                f"the log ends with batch {end}, and batch {anchored.batch} of {anchored.sealed_at:%Y-%m-%d %H:%M:%S}"
                " UTC is anchored: it was rolled back or cut",
                batch=end or None,
            )

    def _tail(self) -> None:
        """What comes after the newest seal: not sealed yet, or out of place."""
        last, newest_epoch, next_xid = self.last, self.source.epoch(), self.source.next_xid()
        while (leaf := self.pending) is not None:
            self.report.records += 1
            if leaf.fault is not None:
                self.report.add(leaf.fault, record=leaf.id)
            if leaf.epoch > newest_epoch or (last is not None and leaf.epoch < last.epoch):
                self.report.add(f"a record stands in epoch {leaf.epoch}, which takes none", record=leaf.id)
            elif leaf.epoch == newest_epoch and next_xid is not None and leaf.txid >= next_xid:
                self.report.add(
                    f"a record is said to be of transaction {leaf.txid}, and {next_xid} is still to come: it was put"
                    " where no seal reaches it",
                    record=leaf.id,
                )
            else:
                self._backdated(leaf, None)
                if leaf.witness is not None:
                    self.archived.unsealed.add(leaf.witness)
                self.report.unsealed += 1
                since = self.report.unsealed_since
                self.report.unsealed_since = min(since, leaf.occurred_at) if since else leaf.occurred_at
            self.pending = next(self.leaves, None)


_COLUMNS = ("batch", "epoch", "from_xid", "to_xid", "records", "total", "root", "previous", "sealed_at")


def _by_columns(seal: SealRow, origin: Origin | None) -> Checkpoint:
    values = {name: getattr(seal, name) for name in _COLUMNS}
    return Checkpoint(origin=origin or Origin(seal.key_id, "unknown"), **values)
