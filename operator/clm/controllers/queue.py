"""The work queue: which objects are to be looked at, now or later.

The semantics are those of client-go's workqueue. A key that is added many times waits once. A key that is
added while it is worked on is worked on again afterwards, never twice at once. Retries wait longer each
time and cost nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")


class WorkQueue(Generic[Key]):
    """A deduplicating, delaying queue for one event loop.

    `clock` is monotonic, in seconds. `first_delay_s` doubles with each retry of a key, up to `last_delay_s`.
    """

    def __init__(self, *, clock: Callable[[], float], first_delay_s: float = 0.1, last_delay_s: float = 60.0) -> None:
        self._clock = clock
        self._first_delay_s = first_delay_s
        self._last_delay_s = last_delay_s
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._order = 0
        self._retries: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._takers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._ready)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    def is_working(self, key: Key) -> bool:
        """Tell whether the key is being worked on."""
        return key in self._working

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as possible."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._notify()

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have the key worked on after a delay, or earlier where it is already due earlier."""
        due = self._clock() + delay_s
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._later, (due, self._order, key))
        self._wake.set()

    def retry(self, key: Key) -> float:
        """Have the key worked on again after its back-off. Returns the delay in seconds."""
        attempts = self._retries.get(key, 0)
        self._retries[key] = attempts + 1
        delay_s = min(self._first_delay_s * 2.0 ** min(attempts, 30), self._last_delay_s)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: Key) -> None:
        """Start the key's back-off anew: it has succeeded, or what it asks for has changed."""
        self._retries.pop(key, None)

    async def take(self) -> Key:
        """Wait for a key and take it; `done` must follow."""
        while not self._ready:
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._notify()
                raise
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """End the work on a key; it is worked on again when it was added meanwhile."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def run(self) -> None:
        """Move what has become due, until cancelled."""
        while True:
            self._wake.clear()
            delay_s = self.move_due()
            try:
                await asyncio.wait_for(self._wake.wait(), delay_s)
            except TimeoutError:
                continue

    def move_due(self) -> float | None:
        """Make ready what is due by now. Returns the seconds until the next is due, None when nothing waits."""
        now = self._clock()
        while self._later:
            due, _, key = self._later[0]
            if self._due.get(key) != due:
                heapq.heappop(self._later)  # it was given an earlier time since
                continue
            if due > now:
                return due - now
            heapq.heappop(self._later)
            del self._due[key]
            self.add(key)
        return None

    def _notify(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
