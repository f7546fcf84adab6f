"""Which key is trusted for which batch."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clm.errors import NoteInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clm.audit.anchor import Ends
    from clm.audit.checkpoint import Checkpoint, SignedNote


@dataclass(slots=True)
class Trust:
    """Public keys that are trusted, until when those of them are that were called compromised, and what each signed."""

    keys: Sequence[bytes]
    ends: Mapping[bytes, Checkpoint | None] = field(default_factory=dict)
    _runs: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, keys: Sequence[bytes], ends: Ends | None) -> Trust:
        """Trust these keys, some of them until an end."""
        return cls(keys, ends or {})

    def check(self, note: SignedNote, *, batch: int) -> bytes:
        """Check the signature of what was signed when the log was at that batch; give the key. Raises NoteInvalid."""
        spki = note.verify(self.keys)
        if not self.holds(spki, batch=batch):
            end = self.ends[hashlib.sha256(spki).digest()]
            raise NoteInvalid(
                f"key {note.key_id} was called compromised, and is trusted"
                + (f" up to batch {end.batch} only" if end is not None else " for nothing")
            )
        return spki

    def holds(self, spki: bytes, *, batch: int) -> bool:
        """Whether a key is trusted for what it signed at that batch."""
        digest = hashlib.sha256(spki).digest()
        if digest not in self.ends:
            return True
        end = self.ends[digest]
        return end is not None and batch <= end.batch

    def signed(self, batch: int, spki: bytes) -> None:
        """Remember who signed a batch; they come in order."""
        if not self._runs or self._runs[-1][1] != spki:
            self._runs.append((batch, spki))

    def sealed_at(self, spki: bytes, batch: int) -> bool:
        """Whether a key sealed that batch, or the one before: nobody signs for the log with one that is retired."""
        return any(run and run[1] == spki for run in (self._run(batch), self._run(batch - 1)))

    def _run(self, batch: int) -> tuple[int, bytes] | None:
        at = bisect_right(self._runs, batch, key=lambda run: run[0])
        return self._runs[at - 1] if at else None
