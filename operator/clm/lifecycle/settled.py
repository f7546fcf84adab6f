"""Whether an object is as CLM left it: its status by the view, its Secret by the watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clm.lifecycle.results import Done

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from clm.cluster.secret_watch import SecretWatch
    from clm.lifecycle.entry import Entry
    from clm.lifecycle.view import ClusterView, Key


class Settled:
    """Compares; asks nobody. `clock` tells the time in UTC."""

    def __init__(self, *, view: ClusterView, secret_watch: SecretWatch, clock: Callable[[], datetime]) -> None:
        self._view = view
        self._secret_watch = secret_watch
        self._clock = clock

    def is_settled(self, key: Key, entry: Entry, *, now: datetime) -> bool:
        """Tell whether the object and its Secret are as the last write of ours left them."""
        secret = self._secret_watch.version(key.namespace, entry.secret_name)
        return (
            entry.settled(secret, now=now.timestamp())
            and self._view.has_its_issuer(key, entry)
            and self._view.owns_its_secret(key, entry)
            and self._view.has_its_chain(key, entry)
        )

    def secret_stands(self, key: Key, entry: Entry) -> bool:
        """Tell whether the Secret is as the last write of ours left it."""
        secret = self._secret_watch.version(key.namespace, entry.secret_name)
        return secret is not None and (secret.uid, secret.resource_version) == (
            entry.secret_uid,
            entry.secret_resource_version,
        )

    def quiet_for_s(self, key: Key, entry: Entry) -> float | None:
        """Seconds until the object needs a look; None when it needs one now."""
        now = self._clock()
        if not self.is_settled(key, entry, now=now):
            return None
        return entry.next_look_at - now.timestamp()

    def now(self) -> float:
        """Seconds since the epoch, by the clock that renewals are counted with."""
        return self._clock().timestamp()


def done_until_next_look(entry: Entry, *, now: datetime) -> Done:
    """Nothing is to be done before the object's next look, which may be never."""
    if entry.next_look_at == float("inf"):
        return Done()
    return Done(max(entry.next_look_at - now.timestamp(), 0.0), recorded=entry.look_is_recorded)
