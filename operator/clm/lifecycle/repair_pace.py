"""How fast what is ours is repaired: at once the first time, ever more slowly while somebody keeps changing it.

Two controllers that both want a Secret their way would write it hundreds of times a second. Four repairs in any hour
are two writes each, the Secret and the status; one more takes the condition away that tells of the contest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")

DELAYS_S = (0.0, 1.0, 10.0, 1000.0, 3600.0)
"""How long after the repair before it each repair comes, at the earliest; the last one for all that follow."""
QUIET_S = 3600.0
"""What is left alone for so long is contested no more."""
_LOOK_S = 10.0
"""How long after a look that found nothing to repair the next one comes, at the earliest."""


def delay_after_s(repairs: int) -> float:
    """Seconds from the last of so many repairs to the next, at the earliest."""
    return DELAYS_S[min(repairs, len(DELAYS_S) - 1)]


class RepairPace(Generic[Key]):
    """Counts the repairs of each key. `clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs: dict[Key, tuple[int, float]] = {}
        self._harmless: set[Key] = set()

    def delay_s(self, key: Key) -> float:
        """Note that a key has to be repaired once more. Returns how long to wait before it."""
        now = self._clock()
        count, due = self._repairs.get(key, (0, now))
        if now < due:
            return due - now  # a repair is planned; one more change does not plan another
        if now - due > QUIET_S:
            count = 0
        least_s = max(delay_after_s(count) if count else 0.0, _LOOK_S if key in self._harmless else 0.0)
        planned = max(now, due + least_s)
        self._harmless.discard(key)
        self._repairs[key] = (count + 1, planned)
        return planned - now

    def was_harmless(self, key: Key) -> None:
        """Note that the last one was no repair: somebody had written what is theirs. That slows no repair to come."""
        count, due = self._repairs.get(key, (0, self._clock()))
        self._repairs[key] = (max(count - 1, 0), due)
        self._harmless.add(key)

    def repairs(self, key: Key) -> int:
        """Count the repairs of a key, the planned one included, since it was last left alone for long enough."""
        count, due = self._repairs.get(key, (0, 0.0))
        return count if self._clock() - due <= QUIET_S else 0

    def remember(self, key: Key, repairs: int, *, ago_s: float) -> None:
        """Go on where an earlier process was, whose last repair was so many seconds ago."""
        self._repairs.setdefault(key, (repairs, self._clock() - ago_s))

    def forget(self, key: Key) -> None:
        """Start anew: the object is gone, or asks for something else."""
        self._repairs.pop(key, None)
        self._harmless.discard(key)
