"""Looks that are taken again and again."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clm.controllers.looks import look_again_and_again
from clm.errors import DatabaseUnavailable

logger = logging.getLogger("test")


def test_an_outage_is_told_and_the_next_look_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is away, looking goes on, and each failure is said once, at the level that was asked for."""

    async def act() -> int:
        looks, enough = 0, asyncio.Event()

        async def look() -> None:
            nonlocal looks
            looks += 1
            if looks < 3:
                raise DatabaseUnavailable("clm_core_db: away")
            enough.set()

        task = asyncio.create_task(
            look_again_and_again(look, interval_s=0.0, what="this is done", logger=logger, level=logging.INFO)
        )
        async with asyncio.timeout(10):
            await enough.wait()
        task.cancel()
        return looks

    with caplog.at_level(logging.INFO, "test"):
        assert asyncio.run(act()) >= 3
    said = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "test"]
    assert said == [("INFO", "this is done later: clm_core_db: away")] * 2


def test_a_defect_ends_it() -> None:
    """What is no error of CLM's own is not passed over."""

    async def look() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(look_again_and_again(look, interval_s=0.0, what="this is done", logger=logger))
