"""Notices that the password of a keystore has changed, or that its Secret has gone.

Only CLM's own Secrets are watched: with all of them, whatever anybody keeps in the cluster would pass through here. So
each Secret with a password is asked for its version now and then, by name and without its content, and the version is
held against the one that the status says was used.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING

from clm.cluster import paths
from clm.cluster.client import METADATA_ONLY
from clm.controllers.looks import look_again_and_again
from clm.errors import ClmError, Forbidden, Unavailable
from clm.lifecycle.repair_pace import QUIET_S, delay_after_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from clm.cluster.client import ApiClient
    from clm.lifecycle.view import ClusterView, Key

logger = logging.getLogger(__name__)


class PasswordWatch:
    """Asks one after the other. `changed(key)` is told of each Certificate whose keystores have another password.

    A Secret that never rests has its Certificates told of ever more slowly, as repairs are made. `clock` is monotonic,
    in seconds.
    """

    def __init__(
        self, *, view: ClusterView, client: ApiClient, changed: Callable[[Key], None], clock: Callable[[], float]
    ) -> None:
        self._view = view
        self._client = client
        self._changed = changed
        self._clock = clock
        self._told: dict[Key, tuple[int, float]] = {}

    async def run(self, *, interval_s: float) -> None:
        """Ask again and again, until cancelled."""
        what = "the passwords of keystores are asked for"
        await look_again_and_again(self.look, first_s=interval_s, interval_s=interval_s, what=what, logger=logger)

    async def look(self) -> None:
        """Ask once for every Secret that a Certificate's password was read from. Raises ClusterUnavailable."""
        users: defaultdict[tuple[str, str], list[tuple[Key, str]]] = defaultdict(list)
        for key, entry in self._view.items():
            # What is not Ready looks again by itself.
            for name, version in entry.password_secrets if entry.ready else ():
                users[key.namespace, name].append((key, version))
        self._told = {key: told for key, told in self._told.items() if self._view.get(key) is not None}
        for (namespace, name), known in users.items():
            try:
                found = await self._client.get(paths.secret(namespace, name), accept=METADATA_ONLY)
            except ClmError as error:
                if isinstance(error, Unavailable) and not isinstance(error, Forbidden):
                    raise
                # Those behind it have nothing to do with what is wrong with this one.
                logger.warning("the Secret %s/%s with a password is asked for later: %s", namespace, name, error)
                continue
            current = found["metadata"]["resourceVersion"] if found is not None else None
            for key, used in known:
                if current != used and self._is_due(key):
                    logger.info("%s: the Secret %s with the password of its keystore has changed", key, name)
                    self._changed(key)

    def _is_due(self, key: Key) -> bool:
        """Tell whether a Certificate may be told of a change, and note that it is."""
        now = self._clock()
        count, due = self._told.get(key, (0, now))
        if now < due:
            return False
        count = 1 if now - due > QUIET_S else count + 1
        self._told[key] = count, now + delay_after_s(count)
        return True
