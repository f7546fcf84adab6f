"""Notices that a person suspended a CA key, or ended or resumed it: its CA stops issuing, and says why.

That nothing is signed with such a key does not hang on this: no intent is written under it. This tells whoever waits,
and wakes them when the key works again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from clm.controllers.looks import look_again_and_again
from clm.lifecycle.view import Key

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from clm.lifecycle.authorities import Authorities
    from clm.storage.secure.key_acts import KeyActStore, StoppedKey

logger = logging.getLogger(__name__)


class KeyStateController:
    """Asks now and then. `changed(ca)` is told of each CA whose key was stopped or works again."""

    def __init__(
        self,
        *,
        store: KeyActStore,
        authorities: Authorities,
        changed: Callable[[Key], None],
        registry: CollectorRegistry,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._changed = changed
        self._known: dict[uuid.UUID, StoppedKey] = {}
        self._stopped = Gauge(
            "clm_ca_keys_stopped", "CA keys that sign nothing, by state", ["state"], registry=registry
        )
        self._past = Gauge(
            "clm_keys_past_period", "Active keys that are past their cryptoperiod", ["purpose"], registry=registry
        )
        self._ends = Gauge(
            "clm_key_period_end_timestamp_seconds",
            "When the first of the active keys comes to the end of its cryptoperiod",
            ["purpose"],
            registry=registry,
        )

    async def run(self, *, interval_s: float) -> None:
        """Ask until cancelled."""
        what = "the states of the CA keys are asked for"
        await look_again_and_again(self.look, interval_s=interval_s, what=what, logger=logger)

    async def look(self) -> None:
        """Ask once. Raises DatabaseUnavailable."""
        stopped = {key.id: key for key in await self._store.stopped()}
        self._authorities.stop({key_id: _why(key) for key_id, key in stopped.items()})
        before, self._known = self._known, stopped
        for key_id in before.keys() | stopped.keys():
            key = stopped.get(key_id) or before[key_id]
            if stopped.get(key_id) != before.get(key_id) and key.namespace is not None and key.name is not None:
                logger.info(
                    "CA key of %s/%s: %s", key.namespace, key.name, _why(key) if key_id in stopped else "resumed"
                )
                self._changed(Key(key.namespace, key.name))
        self._stopped.clear()
        for key in stopped.values():
            self._stopped.labels(key.state).inc()
        for period in await self._store.periods():
            self._past.labels(period.purpose).set(period.past)
            self._ends.labels(period.purpose).set(period.first_end.timestamp())


def _why(key: StoppedKey) -> str:
    return f"its key is {key.state}: {key.state_reason or 'no reason given'}"
