"""The chain of the seals' notes, for who needs a part of the log only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.audit.checkpoint import Checkpoint, SignedNote
from clm.audit.tree import hashes_of, root_of
from clm.errors import ArchiveInvalid, NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clm.audit.checkpoint import Origin
    from clm.audit.trust import Trust
    from clm.resources.seals import SealRow
    from clm.storage.ledger import Ledger


class NoteChain:
    """The notes from a month, or from the anchor, on: signed by keys that are trusted, each naming the one before."""

    def __init__(self, ledger: Ledger, trust: Trust, origin: Origin, anchor: Checkpoint | None) -> None:
        """Take keys and the newest checkpoint from outside the database."""
        self._ledger = ledger
        self._trust = trust
        self._origin = origin
        self._anchor = anchor
        self._notes: Iterator[tuple[int, str]] | None = None
        self._last: Checkpoint | None = None

    def prove(self, seal: SealRow) -> None:
        """Prove everything up to this seal. Raises ArchiveInvalid."""
        if self._notes is None:
            self._notes = self._ledger.notes(first=min(seal.batch, self._anchor.batch if self._anchor else seal.batch))
        last = self._last or self._step()
        while last.batch < seal.batch:
            last = self._step()
        if last.batch != seal.batch or root_of(hashes_of(seal.leaves)) != last.root:
            raise ArchiveInvalid(f"the seal of batch {seal.batch} is not genuine")

    def end(self) -> None:
        """Go on to the batch that is anchored: it stands for those of the month. Raises ArchiveInvalid."""
        anchor = self._anchor
        while anchor is not None and self._last is not None and self._last.batch < anchor.batch:
            self._step()

    def _step(self) -> Checkpoint:
        found = next(self._notes, None) if self._notes is not None else None
        if found is None:
            raise ArchiveInvalid("the log ends before the batch that is anchored: it was rolled back or cut")
        batch, text = found
        try:
            note = SignedNote.parse(text)
            checkpoint = Checkpoint.parse(note.text)
            self._trust.check(note, batch=checkpoint.batch)
        except NoteInvalid as error:
            raise ArchiveInvalid(f"the seal of batch {batch} is not genuine: {error}") from None
        if checkpoint.origin != self._origin or checkpoint.batch != batch:
            raise ArchiveInvalid(f"the seal of batch {batch} is of another log or batch")
        if self._last is not None and checkpoint.previous != self._last.digest():
            raise ArchiveInvalid(f"the seal of batch {batch} does not follow the one before it")
        if self._anchor is not None and batch == self._anchor.batch and checkpoint.text() != self._anchor.text():
            raise ArchiveInvalid(f"the seal of batch {batch} is not the one that is anchored: the log was replaced")
        self._last = checkpoint
        return checkpoint
