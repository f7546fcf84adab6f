"""The work queue: which objects are to be looked at, now or later.

The semantics are those of client-go's workqueue. A key that is added many times waits once. A key that is
added while it is worked on is worked on again afterwards, never twice at once. Retries wait longer each
time and cost nothing meanwhile.

What can wait (a renewal that is due days before its certificate ends) stands in a line of its own, in the background:
others pass it, and some workers are never busy with it. Every so often one of it is taken all the same.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Key = TypeVar("Key", bound="Hashable")

_IN_A_ROW = 8
"""Keys that are taken before one of the background that waits: nobody waits for ever, however busy it is."""


class WorkQueue(Generic[Key]):
    """A deduplicating, delaying queue for one event loop.

    `clock` is monotonic, in seconds. `first_delay_s` doubles with each retry of a key, up to `last_delay_s`.
    `background_limit` is how many keys of the background are worked on at the same time, at most.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        first_delay_s: float = 0.1,
        last_delay_s: float = 60.0,
        background_limit: int | None = None,
    ) -> None:
        self._clock = clock
        self._first_delay_s = first_delay_s
        self._last_delay_s = last_delay_s
        self._background_limit = background_limit
        self._ready: deque[Key] = deque()
        self._background: deque[Key] = deque()
        # Of each key that waits, is worked on, or is to be worked on again: whether in the background.
        self._waiting: dict[Key, bool] = {}
        self._working: dict[Key, bool] = {}
        self._again: dict[Key, bool] = {}
        self._background_working = 0
        self._in_a_row = 0
        self._later: list[tuple[float, int, Key, bool]] = []
        self._due: dict[Key, float] = {}
        self._order = 0
        self._retries: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._takers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """How many keys are being worked on."""
        return len(self._working)

    @property
    def in_background(self) -> int:
        """How many keys wait in the background."""
        return sum(self._waiting.values())

    def is_working(self, key: Key) -> bool:
        """Tell whether the key is being worked on."""
        return key in self._working

    def add(self, key: Key, *, background: bool = False) -> None:
        """Have the key worked on as soon as possible; in the background, when there is nothing else to do."""
        if key in self._working:
            self._again[key] = background and self._again.get(key, True)
        elif key not in self._waiting or (self._waiting[key] and not background):
            # One that waits in the background is passed over there: it stands in front now.
            self._waiting[key] = background
            (self._background if background else self._ready).append(key)
            self._notify()

    def add_after(self, key: Key, delay_s: float, *, background: bool = False) -> None:
        """Have the key worked on after a delay, or earlier where it is already due earlier."""
        due = self._clock() + delay_s
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._later, (due, self._order, key, background))
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
        while (key := self._next()) is None:
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._notify()
                raise
        background = self._waiting.pop(key)
        self._working[key] = background
        self._background_working += background
        self._in_a_row = 0 if background else self._in_a_row + 1
        return key

    def done(self, key: Key) -> None:
        """End the work on a key; it is worked on again when it was added meanwhile."""
        if self._working.pop(key, False):
            self._background_working -= 1
            self._notify()  # one of the background may be taken in its place
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, background=again)

    def _next(self) -> Key | None:
        """Take the key that is next out of its line; None when none may be taken now."""
        while self._background and self._waiting.get(self._background[0]) is not True:
            self._background.popleft()  # it was taken out of the other line since
        limit = self._background_limit
        free = bool(self._background) and (limit is None or self._background_working < limit)
        if free and (not self._ready or self._in_a_row >= _IN_A_ROW):
            return self._background.popleft()
        return self._ready.popleft() if self._ready else None

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
            due, _, key, background = self._later[0]
            if self._due.get(key) != due:
                heapq.heappop(self._later)  # it was given an earlier time since
                continue
            if due > now:
                return due - now
            heapq.heappop(self._later)
            del self._due[key]
            self.add(key, background=background)
        return None

    def _notify(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
