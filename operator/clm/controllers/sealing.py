"""Seals the audit logs of both databases, and anchors the newest checkpoints outside them.

It runs beside everything else: when the token, a database or the API server is away, sealing and anchoring come later,
and nothing waits for them. A log that is behind its anchor is not sealed over, until a person has accepted that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from clm.audit.checkpoint import Checkpoint, SignedNote, public_pem
from clm.cluster.anchors import PUBLIC_KEY, Anchors
from clm.controllers.files import read_text, write_text
from clm.errors import ClmError, Conflict, LogBehind, NotFound, Unavailable
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from clm.audit.seal import Sealer
    from clm.audit.signer import TokenSigner
    from clm.cluster.anchors import AnchorStore
    from clm.storage.records import RecordStore

logger = logging.getLogger(__name__)

_LAG = "Age of the oldest audit record that is not sealed, at most: it grows while nothing can be sealed"
_REFUSED = "1 while the audit log is behind its anchor and therefore not sealed"
_MOST_BATCHES = 50
"""After so many batches in a row the others get their turn."""


@dataclass(slots=True)
class SealedLog:
    """One log and how its sealing stands. Times are of the monotonic clock, in seconds."""

    sealer: Sealer
    records: RecordStore
    looked_at: float
    lag_s: float = 0.0
    newest: str | None = None
    known: bool = False
    refused: str | None = None
    given_up: str | None = field(default=None, repr=False)
    trouble: str | None = None

    @property
    def database(self) -> str:
        """Name of its database."""
        return self.sealer.origin.database


class SealingController:
    """The sealing loop of the controller."""

    def __init__(
        self,
        *,
        logs: Sequence[tuple[Sealer, RecordStore]],
        signer: Callable[[], Awaitable[TokenSigner]],
        anchors: AnchorStore,
        anchor_file: Path | None,
        anchor_interval_s: float,
        registry: CollectorRegistry,
    ) -> None:
        self._logs = [SealedLog(sealer, records, looked_at=time.monotonic()) for sealer, records in logs]
        self._signer = signer
        self._store = anchors
        self._file = anchor_file
        self._interval_s = anchor_interval_s
        self._anchors = Anchors()
        self._anchored_at = float("-inf")
        self._public_key: str | None = None
        self._file_text: str | None = None
        lag = Gauge("clm_audit_seal_lag_seconds", _LAG, ["database"], registry=registry)
        refused = Gauge("clm_audit_seal_refused", _REFUSED, ["database"], registry=registry)
        for log in self._logs:
            lag.labels(log.database).set_function(_lag(log))
            refused.labels(log.database).set_function(_refused(log))

    async def run(self, *, interval_s: float) -> None:
        """Seal and anchor again and again, until cancelled."""
        while True:
            for log in self._logs:
                await self._attend(log)
            await self._anchor()
            await asyncio.sleep(interval_s)

    async def _attend(self, log: SealedLog) -> None:
        """Seal what can be sealed of one log; whatever is in the way, the next one gets its turn."""
        try:
            if not log.known or log.refused is not None:
                await self._learn(log)
            for _ in range(_MOST_BATCHES):
                sealed = await log.sealer.seal(self._open_signer)
                if sealed is not None:
                    log.newest, log.lag_s, log.looked_at = sealed.newest, sealed.lag_s, time.monotonic()
                log.refused, log.trouble = None, None
                if sealed is None or not sealed.more:
                    break
        except LogBehind as error:
            await self._refuse(log, str(error))
        except ClmError as error:
            self._tell(log, str(error))
        except Exception:
            logger.exception("%s: a defect in CLM: its audit log is not sealed", log.database)

    async def _open_signer(self) -> TokenSigner:
        signer = await self._signer()
        self._public_key = public_pem(signer.spki)
        return signer

    async def _learn(self, log: SealedLog) -> None:
        """Read the anchor: at the start, and while it forbids sealing, since a person may have given it up."""
        self._anchors = await self._store.read()
        given_up = self._anchors.superseded(log.database)
        if log.known and given_up == log.given_up:
            return
        newest = _checkpoint(self._anchors.data.get(log.database))
        kept = _checkpoint((await self._kept()).get(log.database))
        # What was given up is given up in the file, too.
        if kept is not None and (newest is None or kept.batch > newest.batch) and not _is_over(kept, given_up):
            newest = kept
        log.sealer.know(newest)
        log.given_up, log.known = given_up, True

    async def _kept(self) -> dict[str, str]:
        if self._file is None:
            return {}
        text = await asyncio.to_thread(read_text, self._file)
        return {} if text is None else dict(json.loads(text))

    async def _refuse(self, log: SealedLog, why: str) -> None:
        if log.refused == why:
            return
        logger.error("THE AUDIT LOG IS NOT SEALED: %s; see `clm audit verify` and `clm audit resume`", why)
        try:
            await log.records.record(_refusal(log, why))
        except ClmError as error:
            # Told once it is on record.
            logger.warning("%s: that could not be recorded yet: %s", log.database, error)
            log.refused = ""
            return
        log.refused = why

    def _tell(self, log: SealedLog, trouble: str) -> None:
        if log.trouble != trouble:
            logger.warning("%s: its audit log is sealed later: %s", log.database, trouble)
        log.trouble = trouble

    async def _anchor(self) -> None:
        """Write the newest checkpoints where they are not written yet."""
        wanted = {log.database: log.newest for log in self._logs if log.newest is not None and log.refused is None}
        anchored = self._anchors.data
        new: dict[str, str | None] = {
            database: note for database, note in wanted.items() if anchored.get(database) != note
        }
        if time.monotonic() - self._anchored_at < self._interval_s:
            return
        try:
            if new:
                # Keys that signed earlier seals stay: those seals are still to be proven.
                if self._public_key is not None and self._public_key not in anchored.get(PUBLIC_KEY, ""):
                    new[PUBLIC_KEY] = anchored.get(PUBLIC_KEY, "") + self._public_key
                self._anchors = await self._store.write(self._anchors, new)
                self._anchored_at = time.monotonic()
            await self._keep()
        except (Conflict, NotFound):
            await self._read_again()
        except (ClmError, OSError) as error:
            logger.warning("the audit logs are anchored later: %s", error)

    async def _keep(self) -> None:
        """Have the file say what the ConfigMap says."""
        text = json.dumps(dict(self._anchors.data), indent=2) + "\n"
        if self._file is not None and self._anchors.data and text != self._file_text:
            if await asyncio.to_thread(read_text, self._file) != text:
                await asyncio.to_thread(write_text, self._file, text)
            self._file_text = text

    async def _read_again(self) -> None:
        """Somebody else has written the anchor, or removed it."""
        try:
            self._anchors = await self._store.read()
        except Unavailable as error:
            logger.warning("the audit logs are anchored later: %s", error)
            return
        for log in self._logs:
            # Another controller may be ahead; its word counts as much as ours.
            theirs = _checkpoint(self._anchors.data.get(log.database))
            ours = _checkpoint(log.newest)
            if theirs is not None and ours is not None and theirs.batch > ours.batch:
                log.sealer.know(theirs)
                log.newest = self._anchors.data[log.database]


def _checkpoint(note: str | None) -> Checkpoint | None:
    return None if note is None else Checkpoint.parse(SignedNote.parse(note).text)


def _is_over(kept: Checkpoint, given_up: str | None) -> bool:
    superseded = _checkpoint(given_up)
    return superseded is not None and kept.batch <= superseded.batch


def _lag(log: SealedLog) -> Callable[[], float]:
    return lambda: log.lag_s + (time.monotonic() - log.looked_at)


def _refused(log: SealedLog) -> Callable[[], float]:
    return lambda: 0.0 if log.refused is None else 1.0


def _refusal(log: SealedLog, why: str) -> AuditRecord:
    return AuditRecord(
        organization_id=SYSTEM_ORGANIZATION,
        action="audit.seal-refuse",
        object_type="audit-log",
        object_id=log.database,
        outcome="denied",
        reason=why,
        actor_type="system",
    )
