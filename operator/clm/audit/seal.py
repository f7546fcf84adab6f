"""The sealer of one audit log.

1. Take the lock, so that only one process seals at a time. Those who write records do not see it.
2. Compare with what is known from outside the database. A log that is behind it is not sealed over, nor one whose
   newest seal no key signed that was made for it: who may insert seals cannot have a forged one continued.
3. Take the hashes of the next batch: records of transactions that are all over.
4. Have the root over them signed, and write the seal. The transaction ends with it.

A crash before the end of 4 leaves nothing; the next attempt begins at 1 with the same records.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clm.audit.checkpoint import NO_PREVIOUS, Checkpoint, SignedNote, sign_note
from clm.audit.tree import hashes_of, root_of
from clm.errors import LogBehind, NoteInvalid
from clm.resources.seals import SealRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from clm.audit.checkpoint import Origin, Signer
    from clm.resources.seals import KnownKey
    from clm.storage.seals import Batch, Horizon, Sealing, SealStore

BATCH_RECORDS = 20_000
"""Records that a batch has at most, but for a single larger transaction: what is held in memory at a time."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """How a log stands after an attempt: its newest seal, whether that is new, and the age of what is not sealed.

    `more`: it was not all that there is to seal; another batch is due at once.
    """

    newest: str | None
    new: bool
    more: bool
    lag_s: float


class Sealer:
    """Seals one log. It remembers the newest checkpoint that it knows of, and insists on it."""

    def __init__(
        self,
        *,
        origin: Origin,
        store: SealStore,
        keys: Callable[[], Awaitable[Sequence[KnownKey]]],
        clock: Callable[[], datetime],
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        """Take the log, and what reads the keys that were made for seals (asked for where the newest seal is new)."""
        self._origin = origin
        self._store = store
        self._keys = keys
        self._clock = clock
        self._batch_records = batch_records
        self._known: Checkpoint | None = None
        self._genuine: str | None = None

    @property
    def origin(self) -> Origin:
        """The log."""
        return self._origin

    def know(self, checkpoint: Checkpoint | None) -> None:
        """Take this for the newest checkpoint known from outside, whatever was known before."""
        self._known = checkpoint

    async def seal(self, signer: Callable[[], Awaitable[Signer]]) -> Sealed | None:
        """Seal the next batch if there is one; None while another process seals.

        `signer` is asked for only when there is something to sign. Raises LogBehind, NoteInvalid, HsmUnavailable,
        HsmError, DatabaseUnavailable.
        """
        async with self._store.sealing() as sealing:
            if sealing is None:
                return None
            newest = await self._compare(sealing)
            horizon = await sealing.horizon()
            last = Checkpoint.parse(newest.text) if newest is not None else None
            _check_horizon(last, horizon)
            batch = await self._next_batch(sealing, last, horizon)
            if batch is None:
                lag_s = await self._lag_s(sealing, last, horizon)
                sealed = Sealed(None if newest is None else str(newest), new=False, more=False, lag_s=lag_s)
            else:
                sealed = await self._seal(sealing, batch, last, await signer())
        # Only what is committed is known.
        if sealed.newest is not None:
            self._known = Checkpoint.parse(SignedNote.parse(sealed.newest).text)
            self._genuine = sealed.newest
        return sealed

    async def _compare(self, sealing: Sealing) -> SignedNote | None:
        known = self._known
        notes = await sealing.notes(known.batch if known is not None else 0)
        newest = await self._check(*notes[0]) if notes else None
        if known is not None:
            standing = next((note for batch, note in notes if batch == known.batch), None)
            end = notes[0][0] if notes else 0
            if standing is None:
                raise LogBehind(
                    f"{self._origin.database}: the audit log ends with batch {end}, and batch {known.batch} of"
                    f" {known.sealed_at:%Y-%m-%d %H:%M:%S} is anchored: it was rolled back or cut"
                )
            if not standing.startswith(known.text() + "\n"):
                raise LogBehind(
                    f"{self._origin.database}: batch {known.batch} of the audit log is not the one that is anchored:"
                    " it was replaced"
                )
        return newest

    async def _check(self, batch: int, text: str) -> SignedNote:
        """The newest note, which the next one continues. Raises LogBehind unless it is genuine."""
        try:
            note = SignedNote.parse(text)
            if text != self._genuine:
                self._require_genuine(batch, note, await self._keys())
        except NoteInvalid as error:
            raise LogBehind(
                f"{self._origin.database}: the newest seal, batch {batch}, is not genuine: {error}"
            ) from None
        self._genuine = text
        return note

    def _require_genuine(self, batch: int, note: SignedNote, keys: Sequence[KnownKey]) -> None:
        checkpoint = Checkpoint.parse(note.text)
        if (checkpoint.origin, checkpoint.batch) != (self._origin, batch):
            raise NoteInvalid("it is of another log or batch")
        if self._known is not None and self._known.text() == note.text:
            # It was genuine when it was anchored. Its key may be gone: clm_secure_db was restored to a time before it.
            return
        spki = note.verify([key.spki for key in keys])
        if any(key.compromised for key in keys if key.spki == spki):
            raise NoteInvalid("it is not anchored, and its key was called compromised")

    async def _next_batch(self, sealing: Sealing, last: Checkpoint | None, horizon: Horizon) -> Batch | None:
        for epoch in range(last.epoch if last is not None else 1, horizon.epoch + 1):
            from_xid = last.to_xid if last is not None and last.epoch == epoch else 0
            batch = await sealing.batch(epoch=epoch, from_xid=from_xid, horizon=horizon, limit=self._batch_records)
            if batch is not None:
                return batch
        return None

    async def _lag_s(self, sealing: Sealing, last: Checkpoint | None, horizon: Horizon) -> float:
        from_xid = last.to_xid if last is not None and last.epoch == horizon.epoch else 0
        return await sealing.oldest_s(epoch=horizon.epoch, from_xid=from_xid)

    async def _seal(self, sealing: Sealing, batch: Batch, last: Checkpoint | None, signer: Signer) -> Sealed:
        span, leaves = batch.span, hashes_of(batch.leaves)
        # Thousands of hashes: the event loop goes on meanwhile.
        root = await asyncio.to_thread(root_of, leaves)
        checkpoint = Checkpoint(
            origin=self._origin,
            batch=last.batch + 1 if last is not None else 1,
            root=root,
            epoch=span.epoch,
            from_xid=span.from_xid,
            to_xid=span.to_xid,
            records=len(leaves),
            total=len(leaves) + (last.total if last is not None else 0),
            previous=last.digest() if last is not None else NO_PREVIOUS,
            sealed_at=self._clock(),
        )
        note = await sign_note(checkpoint.text(), signer)
        seal = _row(checkpoint, note, batch.leaves)
        await sealing.insert(seal, spki=signer.spki)
        lag_s = await sealing.oldest_s(epoch=span.epoch, from_xid=span.to_xid)
        return Sealed(seal.note, new=True, more=batch.more, lag_s=lag_s)


def _check_horizon(last: Checkpoint | None, horizon: Horizon) -> None:
    if last is not None and last.epoch == horizon.epoch and last.to_xid > horizon.next:
        raise LogBehind(
            f"{last.origin.database}: transaction ids are at {horizon.next}, and sealed up to {last.to_xid}: after a"
            " restore of a dump clm_guard.begin_ledger_epoch() must be called"
        )


def _row(checkpoint: Checkpoint, note: SignedNote, leaves: bytes) -> SealRow:
    return SealRow(
        batch=checkpoint.batch,
        epoch=checkpoint.epoch,
        from_xid=checkpoint.from_xid,
        to_xid=checkpoint.to_xid,
        records=checkpoint.records,
        total=checkpoint.total,
        root=checkpoint.root,
        previous=checkpoint.previous,
        sealed_at=checkpoint.sealed_at,
        key_id=note.key_id,
        note=str(note),
        leaves=leaves,
    )
