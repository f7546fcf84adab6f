"""A look that is taken again and again, whatever was away when it was taken."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from clm.errors import ClmError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def look_again_and_again(
    look: Callable[[], Awaitable[None]],
    *,
    interval_s: float,
    what: str,
    logger: logging.Logger,
    first_s: float = 0.0,
    level: int = logging.WARNING,
) -> None:
    """Look, first after `first_s`, until cancelled; after a ClmError the next look is the next attempt.

    `what` is said of it then, followed by "later". Raises what else the look raises: a defect is no outage.
    """
    await asyncio.sleep(first_s)
    while True:
        try:
            await look()
        except ClmError as error:
            logger.log(level, "%s later: %s", what, error)
        await asyncio.sleep(interval_s)
