"""How fast a background task may go: it works for a while, and rests in proportion."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

_LONGEST_REST_S = 5.0


@dataclass(slots=True)
class Pace:
    """Rests `rest_ratio` times as long as was worked since the last rest; 0 never rests."""

    rest_ratio: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    async def rest(self) -> None:
        """Rest after a page of work."""
        worked_s = time.monotonic() - self._began
        await asyncio.sleep(min(worked_s * self.rest_ratio, _LONGEST_REST_S))
        self._began = time.monotonic()
