"""Ends the process when a call into the token's library hangs: it cannot be cancelled, and holds a session for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clm.errors import ControllerEnded

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_S = 5.0


async def watch_calls(oldest_call_s: Callable[[], float], *, limit_s: float) -> None:
    """Raise ControllerEnded as soon as the oldest call is older than `limit_s`; else run until cancelled."""
    while True:
        age_s = oldest_call_s()
        if age_s > limit_s:
            raise ControllerEnded(
                f"a call into the HSM's library has been hanging for {age_s:.0f} s; only a new process gets rid of it"
            )
        await asyncio.sleep(min(limit_s / 10, _MOST_S))
