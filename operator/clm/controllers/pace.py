"""How fast a Secret is repaired: at once the first time, ever more slowly while somebody keeps changing it.

Two controllers that both want a Secret their way would write it hundreds of times a second. Five repairs an hour are
two writes each, the Secret and the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")

DELAYS_S = (0.0, 1.0, 10.0, 100.0, 1000.0, 3600.0)
_QUIET_S = 3600.0


class RepairPace(Generic[Key]):
    """Counts the repairs of each key. `clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: dict[Key, tuple[int, float]] = {}

    def delay_s(self, key: Key) -> float:
        """Note that a key has to be repaired once more. Returns how long to wait before it."""
        now = self._clock()
        count, due = self._repairs.get(key, (0, now))
        if now < due:
            return due - now  # a repair is planned; one more change does not plan another
        if now - due > _QUIET_S:
            count = 0
        delay_s = DELAYS_S[min(count, len(DELAYS_S) - 1)]
        self._repairs[key] = (count + 1, now + delay_s)
        return delay_s

    def forget(self, key: Key) -> None:
        """Start anew: the object is gone, or asks for something else."""
        self._repairs.pop(key, None)
