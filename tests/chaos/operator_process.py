"""The real operator, wired as in production, but for a boundary that can end the process.

``CLM_CHAOS_BOUNDARY`` names the boundary, ``CLM_CHAOS_PASSES`` after how many passes the process kills itself
there. The kill is SIGKILL: nothing is flushed, closed or rolled back.
"""

from __future__ import annotations

import os
import signal
import threading

from clm.cli.controller import run
from clm.lifecycle.boundaries import Boundary, no_boundary
from clm.logs import configure_logging
from clm.settings import settings_from_environment


class KillAt:
    """Kills this process at the n-th pass of one boundary."""

    def __init__(self, name: str, passes: int) -> None:
        """Count passes of `name` only."""
        self._name = name
        self._left = passes
        self._lock = threading.Lock()

    def __call__(self, name: str, /) -> None:
        """Count, and kill when the count is full. Boundaries in the token's threads come here too."""
        if name != self._name:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _boundary() -> Boundary:
    name = os.environ.get("CLM_CHAOS_BOUNDARY")
    return KillAt(name, int(os.environ.get("CLM_CHAOS_PASSES", "1"))) if name else no_boundary


def main() -> None:
    """Run the operator until it is killed or told to stop."""
    settings = settings_from_environment(os.environ)
    configure_logging(level=settings.log_level)
    run(settings, boundary=_boundary())


if __name__ == "__main__":
    main()
