"""Keeps what the responder serves up to date: the CAs that publish, their CRLs, and the certificates of its keys.

It runs beside everything else. When the token or a database is away, what is due comes later; a revocation is marked in
clm_secure_db when a CRL lists it, and not before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from clm.errors import ClmError, CrlOvertaken

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from clm.lifecycle.crl_rounds import CrlRounds, Known
    from clm.lifecycle.ocsp_certificates import OcspCertificates
    from clm.lifecycle.publishing_cas import PublishingCas
    from clm.storage.core.crls import CrlStore

logger = logging.getLogger(__name__)

_REFRESH_S = 60.0
_UPKEEP_S = 600.0
_BACKOFF_S = (1.0, 2.0, 5.0, 15.0, 30.0)
_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class PublishingMetrics:
    """What is published, by CA where there are few series, and how long a revocation waits for its CRL."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter("clm_crl_published_total", "CRLs published", ["issuer"], registry=registry)
        self.failed = Counter(
            "clm_crl_failures_total",
            "Rounds in which CRLs of a CA could not be published",
            ["issuer"],
            registry=registry,
        )
        self.latency = Histogram(
            "clm_crl_publish_seconds",
            "From the record of a revocation to the CRLs that list it",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.next_update = Gauge(
            "clm_crl_next_update_timestamp_seconds",
            "nextUpdate of the CRL of a CA that runs out first",
            ["issuer"],
            registry=registry,
        )
        self.entries = Gauge("clm_crl_entries", "Certificates on the complete CRL", ["issuer"], registry=registry)
        self.certified = Counter(
            "clm_ocsp_certificates_total", "Certificates for responder replicas", registry=registry
        )

    def show(self, known: Known) -> None:
        """Publish how the CRLs of a CA stand."""
        states = known.states.values()
        if states:
            first = min(state.next_update for state in states)
            self.next_update.labels(known.name).set(first.timestamp())
        if (complete := known.states.get((1, 0))) is not None:
            self.entries.labels(known.name).set(complete.entry_count)


class PublishingController:
    """The rounds, and what to do when one fails."""

    def __init__(
        self,
        *,
        cas: PublishingCas,
        rounds: CrlRounds,
        responders: OcspCertificates,
        store: CrlStore,
        metrics: PublishingMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._cas = cas
        self._rounds = rounds
        self._responders = responders
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._refreshed_at = float("-inf")
        self._kept_up_at = float("-inf")
        self._failures: dict[uuid.UUID, tuple[int, float]] = {}
        self._troubles: dict[object, str] = {}

    async def run(self, *, interval_s: float) -> None:
        """Go round until cancelled."""
        while True:
            await self._part("what CAs publish is noted", self._keep)
            await self._part("CRLs are published", self._publish)
            await self._part("responders are certified", self._certify)
            if time.monotonic() - self._kept_up_at > _UPKEEP_S:
                await self._part("what expired is let go", self._keep_up)
            await asyncio.sleep(interval_s)

    async def _keep(self) -> None:
        changed = await self._cas.keep(self._rounds.rows)
        if changed or time.monotonic() - self._refreshed_at > _REFRESH_S:
            await self._rounds.refresh()
            self._refreshed_at = time.monotonic()
            for known in self._rounds.cas.values():
                self._metrics.show(known)

    async def _publish(self) -> None:
        for known in await self._rounds.due():
            key_id = known.ca.row.issuer_key_id
            failures, not_before = self._failures.get(key_id, (0, 0.0))
            if time.monotonic() < not_before:
                continue
            try:
                done = await self._rounds.publish(known)
            except CrlOvertaken as error:
                # Somebody else publishes as well, as while a new version takes over: look at what stands now.
                logger.info("%s: %s", known.name, error)
                self._refreshed_at = float("-inf")
            except ClmError as error:
                self._failed(known, failures, str(error))
            except Exception as error:
                self._failed(known, failures, repr(error))
                logger.exception("%s: a defect in CLM: its CRLs are published later", known.name)
            else:
                self._succeeded(known)
                self._metrics.published.labels(known.name).inc(done.count)
                if done.oldest is not None:
                    self._metrics.latency.observe(max((self._clock() - done.oldest).total_seconds(), 0.0))
                    logger.info("%s: %d revocations are on its CRLs", known.name, done.revocations)
            self._metrics.show(known)

    async def _certify(self) -> None:
        open_to = {
            key_id: known.ca
            for key_id, known in self._rounds.cas.items()
            if known.ca.row.ocsp_enabled and known.until > self._clock()
        }
        if open_to:
            self._metrics.certified.inc(await self._responders.answer(open_to))

    async def _keep_up(self) -> None:
        await self._rounds.settle_schemes()
        if self._rounds.rows:
            await self._rounds.announce_missing()
            await self._responders.clean()
            await self._store.drop_expired_revocations()
        self._kept_up_at = time.monotonic()

    def _failed(self, known: Known, failures: int, why: str) -> None:
        delay_s = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
        self._failures[known.ca.row.issuer_key_id] = (failures + 1, time.monotonic() + delay_s)
        self._metrics.failed.labels(known.name).inc()
        self._tell(known.ca.row.issuer_key_id, f"{known.name}: its CRLs are published later: {why}")

    def _succeeded(self, known: Known) -> None:
        key_id = known.ca.row.issuer_key_id
        if self._failures.pop(key_id, None) is not None and self._troubles.pop(key_id, None) is not None:
            logger.info("%s: its CRLs are published again", known.name)

    async def _part(self, what: str, act: Callable[[], Awaitable[None]]) -> None:
        try:
            await act()
        except ClmError as error:
            self._tell(what, f"{what} later: {error}")
        except Exception:
            logger.exception("a defect in CLM: %s later", what)
        else:
            self._troubles.pop(what, None)

    def _tell(self, about: object, trouble: str) -> None:
        """Say what is in the way, once."""
        if self._troubles.get(about) != trouble:
            logger.warning("%s", trouble)
        self._troubles[about] = trouble
