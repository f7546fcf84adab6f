"""Looks now and then how the CAs are, and says so in a condition of each and in metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from prometheus_client import Gauge

from clm.cluster import paths
from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError, Conflict, HsmError, NotFound, Unavailable
from clm.hsm.keys import find_signing_key
from clm.lifecycle.authority_health import (
    CONDITION,
    AuthorityState,
    CrlTimes,
    health_conditions,
    leaf_duration,
    problems,
)
from clm.resources.conditions import find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from clm.cluster.client import ApiClient
    from clm.cluster.status import StatusWriter
    from clm.hsm.token import Token
    from clm.lifecycle.authority_health import Problem
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.view import ClusterView, Key
    from clm.storage.core.crls import CrlState, CrlStore
    from clm.storage.secure.authorities import AuthorityStore, StandingAuthority

logger = logging.getLogger(__name__)

_SERIES = 256
"""CAs that have series of their own; more than that are in the conditions only."""


class AuthorityMetrics:
    """One series a CA, for the first so many by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._expiry = Gauge(
            "clm_ca_expiry_timestamp_seconds", "End of the certificate of a CA", ["ca"], registry=registry
        )
        self._usable = Gauge(
            "clm_ca_key_usable", "Whether the token holds the key of a CA, and it may sign", ["ca"], registry=registry
        )
        self._shown: set[str] = set()

    def show(self, states: Mapping[Key, AuthorityState]) -> None:
        """Publish how the CAs are; those that are gone leave no series."""
        names = {str(key): state for key, state in sorted(states.items())[:_SERIES]}
        for gone in self._shown - names.keys():
            self._expiry.remove(gone)
            self._usable.remove(gone)
        for name, state in names.items():
            self._expiry.labels(name).set(state.not_after.timestamp())
            self._usable.labels(name).set(state.key_problem is None)
        self._shown = set(names)


class AuthorityHealthController:
    """Looks at every CA. What is wrong is told when two looks in a row have seen it; that it is over, at once."""

    def __init__(  # noqa: PLR0913 - wired in one place
        self,
        *,
        view: ClusterView,
        store: AuthorityStore,
        crls: CrlStore,
        token: Token,
        client: ApiClient,
        statuses: StatusWriter,
        registry: CollectorRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._view = view
        self._store = store
        self._crls = crls
        self._token = token
        self._client = client
        self._statuses = statuses
        self._metrics = AuthorityMetrics(registry)
        self._clock = clock
        self._seen: dict[Key, tuple[Problem, ...]] = {}
        self._told: dict[Key, tuple[str, tuple[Problem, ...]]] = {}

    async def run(self, *, interval_s: float) -> None:
        """Look until cancelled."""
        what = "the health of the CAs is looked at"
        await look_again_and_again(self.look, first_s=interval_s, interval_s=interval_s, what=what, logger=logger)

    async def look(self) -> None:
        """Look once. Raises DatabaseUnavailable."""
        entries = {key: entry for key, entry in self._view.cas() if entry.certificate_id is not None}
        standing = await self._store.standing(
            [entry.certificate_id for entry in entries.values() if entry.certificate_id]
        )
        crls = await self._crls.states()
        states: dict[Key, AuthorityState] = {}
        for key, entry in entries.items():
            own = standing.get(entry.certificate_id) if entry.certificate_id else None
            if own is not None:
                states[key] = await self._state(key, entry, own, crls)
        self._metrics.show(states)
        for key, state in states.items():
            await self._tell(key, entries[key], state)
        for gone in self._seen.keys() - states.keys():
            self._seen.pop(gone)
            self._told.pop(gone, None)

    async def _state(self, key: Key, entry: Entry, own: StandingAuthority, crls: Sequence[CrlState]) -> AuthorityState:
        publishes = entry.authority is not None and entry.authority.crl is not None
        current = tuple(
            CrlTimes(crl.this_update, crl.next_update)
            for crl in crls
            if crl.issuer_key_id == own.key_id and crl.needed_until is None
        )
        return AuthorityState(
            not_before=own.not_before,
            not_after=own.not_after,
            leaf_duration=leaf_duration(key, self._view.policies()),
            key_problem=await self._key_problem(own),
            crls=current if publishes else None,
        )

    async def _key_problem(self, own: StandingAuthority) -> str | None:
        """Why the CA's key cannot sign. Nothing is signed to find out: a CA key signs what is recorded, and no more."""
        if own.key_state != "active":
            return f"its key is {own.key_state}: {own.key_state_reason or 'no reason given'}"
        try:
            found = await find_signing_key(self._token, own.key_id, spki=own.spki)
        except (Unavailable, HsmError) as error:
            return f"the token cannot be asked for its key {own.key_id}: {type(error).__name__}"
        if found is None or found.spki != own.spki:
            return f"the token does not hold its key {own.key_id}; restore the token, a CA key is never made again"
        return None

    async def _tell(self, key: Key, entry: Entry, state: AuthorityState) -> None:
        found = problems(state, now=self._clock())
        before = self._seen.get(key, ())
        self._seen[key] = found
        lasting = tuple(problem for problem in found if problem in before)
        if (found and not lasting) or self._told.get(key) == (entry.uid, lasting):
            return
        try:
            await self._write(key, lasting)
        except Conflict:
            return  # somebody else writes this object now; the next look finds it as it is then
        except (NotFound, ClmError) as error:
            logger.info("%s: that the CA is %s is told later: %s", key, lasting or "healthy", error)
            return
        self._told[key] = (entry.uid, lasting)

    async def _write(self, key: Key, found: tuple[Problem, ...]) -> None:
        body = await self._client.get(paths.certificate(*key))
        if body is None:
            return
        standing: list[dict[str, Any]] = list((body.get("status") or {}).get("conditions") or ())
        wanted = health_conditions(standing, found, generation=body["metadata"]["generation"], now=self._clock())
        if not _says_the_same(find(wanted, CONDITION), find(standing, CONDITION)):
            self._view.put(await self._statuses.write(body, {"conditions": wanted}))


def _says_the_same(wanted: Mapping[str, Any] | None, standing: Mapping[str, Any] | None) -> bool:
    said = [
        [(condition or {}).get(field) for field in ("status", "reason", "message")] for condition in (wanted, standing)
    ]
    return said[0] == said[1]
