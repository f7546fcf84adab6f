"""Spreads work that falls due for many objects at once: so many a second, in the order in which they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Spread:
    """Hands out moments, `per_second` of them a second. `clock` is monotonic, in seconds."""

    def __init__(self, *, per_second: float, clock: Callable[[], float]) -> None:
        self._interval_s = 1.0 / per_second
        self._clock = clock
        self._free_at = 0.0

    def delay_s(self) -> float:
        """Seconds from now to the next moment that nobody has; it is taken with that."""
        now = self._clock()
        moment = max(now, self._free_at)
        self._free_at = moment + self._interval_s
        return moment - now
