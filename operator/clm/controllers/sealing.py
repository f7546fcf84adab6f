"""Seals the audit logs of both databases, and anchors the newest checkpoints outside them.

It runs beside everything else: when the token, a database or the API server is away, sealing and anchoring come later,
and nothing waits for them. A log that is behind its anchor is not sealed over, until a person has accepted that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from clm.audit.anchor import given_up_of, is_lasting, read_anchors
from clm.cluster.anchors import PUBLIC_KEY, Anchors
from clm.controllers.anchoring import config_map, file, newest_of
from clm.controllers.files import read_text, write_text
from clm.errors import ClmError, Conflict, LogBehind, NoteInvalid, NotFound, Unavailable
from clm.resources.audit import AuditRecord
from clm.settings import SYSTEM_ORGANIZATION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from clm.audit.anchor import GivenUp
    from clm.audit.seal import Sealer
    from clm.audit.signer import TokenSigner
    from clm.cluster.anchors import AnchorStore
    from clm.resources.seals import KnownKey
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
    learned: tuple[list[GivenUp], str | None] | None = None
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
        keys: Callable[[], Awaitable[Sequence[KnownKey]]],
        anchors: AnchorStore,
        anchor_file: Path | None,
        anchor_interval_s: float,
        registry: CollectorRegistry,
    ) -> None:
        self._logs = [SealedLog(sealer, records, looked_at=time.monotonic()) for sealer, records in logs]
        self._signer = signer
        self._read_keys = keys
        self._store = anchors
        self._file = anchor_file
        self._interval_s = anchor_interval_s
        self._anchors = Anchors()
        self._anchored_at = float("-inf")
        # What was ever read there of what stays for good: it comes back when the ConfigMap was removed.
        self._lasting: dict[str, str] = {}
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
                sealed = await log.sealer.seal(self._signer)
                if sealed is not None:
                    log.newest, log.lag_s, log.looked_at = sealed.newest, sealed.lag_s, time.monotonic()
                log.refused, log.trouble = None, None
                if sealed is None or not sealed.more:
                    break
        except LogBehind as error:
            await self._refuse(log, str(error))
        except (ClmError, OSError) as error:
            self._tell(log, str(error))
        except Exception:
            logger.exception("%s: a defect in CLM: its audit log is not sealed", log.database)

    async def _learn(self, log: SealedLog) -> None:
        """Read the anchors: at the start, and while they forbid sealing, since a person may have given them up."""
        self._take(await self._store.read())
        data, name = self._anchors.data, log.database
        given_up = given_up_of(data, name)
        if log.known and (given_up, data.get(name)) == log.learned:
            return
        # A person decides for what this process remembers, too.
        remembered = log.newest if log.learned is None or log.learned[0] == given_up else None
        kept = (await self._kept()).get(name)
        notes = {"the file": kept, "this process": remembered}
        in_doubt = {"the ConfigMap": data.get(name)}
        sources = (newest_of(name, in_doubt, []), newest_of(name, notes, given_up))
        log.sealer.know(max(filter(None, sources), key=lambda known: known.batch, default=None))
        log.learned, log.known = (given_up, data.get(name)), True

    def _take(self, anchors: Anchors) -> None:
        self._anchors = anchors
        self._lasting |= {name: value for name, value in anchors.data.items() if is_lasting(name) or name == PUBLIC_KEY}

    async def _kept(self) -> dict[str, str]:
        """What the file says. Raises LogBehind where it cannot be read: it may know of more than anybody else."""
        text = await asyncio.to_thread(read_text, self._file) if self._file is not None else None
        if text is None:
            return {}
        try:
            return dict(read_anchors(text))
        except NoteInvalid as error:
            raise LogBehind(
                f"the anchor file {self._file} cannot be read ({error}): put it back from a copy, or remove it"
            ) from None

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
        if time.monotonic() - self._anchored_at < self._interval_s:
            return
        try:
            await self._write()
        except (Conflict, NotFound):
            await self._read_again()
        except LogBehind:
            self._doubt()
        except (ClmError, OSError) as error:
            logger.warning("the audit logs are anchored later: %s", error)
        except Exception:
            logger.exception("a defect in CLM: the audit logs are not anchored")

    async def _write(self) -> None:
        sound = [log for log in self._logs if log.known and log.refused is None]
        newest = {log.database: log.newest for log in sound if log.newest is not None}
        if not newest and not self._anchors.data:
            return
        kept = await self._kept()
        try:
            keys = await self._read_keys()
        except Unavailable:
            # What is signed by a key that is published already is anchored all the same.
            keys = ()
        new = config_map(self._anchors.data, {**self._lasting, **kept}, newest, keys)
        if new:
            self._take(await self._store.write(self._anchors, dict(new)))
            self._anchored_at = time.monotonic()
        if self._file is not None:
            wanted = file(self._anchors.data, kept, [log.database for log in sound])
            if wanted != kept:
                await asyncio.to_thread(write_text, self._file, json.dumps(wanted, indent=2) + "\n")

    async def _read_again(self) -> None:
        """Somebody else has written the anchor, or removed it: its word counts as much as ours."""
        try:
            self._take(await self._store.read())
        except Unavailable as error:
            logger.warning("the audit logs are anchored later: %s", error)
            return
        self._doubt()

    def _doubt(self) -> None:
        """Have all be read again before anything is sealed."""
        for log in self._logs:
            log.known = False


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
