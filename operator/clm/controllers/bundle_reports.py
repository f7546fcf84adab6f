"""Says how trust bundles stand once that has come to rest: not once a namespace, and not while a start finds it out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.lifecycle.trust import Bundle, BundleReport, Bundles
    from clm.lifecycle.view import PolicyView

Keep = Literal["keep"]
"""In the place of a report: what the status says stays, since nothing else is known yet."""

_REST_S = 1.0
_LONGEST_S = 30.0
"""However much goes on, it is said after so long how things stand."""
_NOT_SEEN = "waiting for the watch of ConfigMaps (rights: config/rbac-trust.yaml)"


class BundleReports:
    """Keeps the last report of each bundle. `reported(policy name)` is called when one is another than before."""

    def __init__(
        self, bundles: Bundles, *, synced: asyncio.Event, reported: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._bundles = bundles
        self._synced = synced
        self._reported = reported
        self._clock = clock
        self._reports: dict[str, BundleReport] = {}
        self._timers: dict[str, tuple[asyncio.TimerHandle, float]] = {}

    def of(self, policy: PolicyView) -> BundleReport | Keep | None:
        """Last report of a Policy's bundle; None when it has none, "keep" while that is not known."""
        if policy.spec is None:
            return "keep"
        if policy.spec.trust_bundle is None:
            return None
        return self._reports.get(policy.uid, "keep")

    def tell(self, bundle: Bundle) -> None:
        """Have it said how a bundle stands, as soon as nothing more happens to it. Must not block."""
        uid, now = bundle.policy.uid, self._clock()
        timer, since = self._timers.get(uid, (None, now))
        if timer is not None:
            if now - since > _LONGEST_S:
                return
            timer.cancel()
        self._timers[uid] = asyncio.get_running_loop().call_later(_REST_S, self._say, uid), since

    def _say(self, uid: str) -> None:
        _, since = self._timers.pop(uid)
        bundle, found = self._bundles.get(uid), self._bundles.report(uid)
        if bundle is None or found is None:
            self._reports.pop(uid, None)
            return
        late = self._clock() - since > _LONGEST_S
        if not late and (bundle.pending or not bundle.is_read or not self._synced.is_set()):
            self._timers[uid] = asyncio.get_running_loop().call_later(_REST_S, self._say, uid), since
            return
        if not self._synced.is_set():
            found = replace(found, waiting=_NOT_SEEN)
        if self._reports.get(uid) != found:
            self._reports[uid] = found
            self._reported(bundle.policy.name)
