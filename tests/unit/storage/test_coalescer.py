"""Group commit: callers share transactions, and a poisoned item fails alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from clm.errors import DatabaseUnavailable
from clm.storage.coalescer import Coalescer

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_concurrent_callers_share_a_flush_and_each_gets_its_own_result() -> None:
    """One hundred callers need far fewer transactions than a hundred."""
    batches: list[int] = []

    async def flush(items: Sequence[int]) -> Sequence[int]:
        batches.append(len(items))
        await asyncio.sleep(0.001)
        return [item * 2 for item in items]

    async def scenario() -> list[int]:
        coalescer = Coalescer(flush, flushers=2, limit=64)
        return await asyncio.gather(*(coalescer.submit(number) for number in range(100)))

    assert asyncio.run(scenario()) == [number * 2 for number in range(100)]
    assert len(batches) <= 4
    assert max(batches) == 64


def test_a_lone_caller_waits_for_nobody() -> None:
    """There is no timer: one item is one flush at once."""

    async def flush(items: Sequence[str]) -> Sequence[str]:
        return list(items)

    async def scenario() -> str:
        return await asyncio.wait_for(Coalescer(flush).submit("alone"), 0.5)

    assert asyncio.run(scenario()) == "alone"


def test_after_a_shared_flush_the_next_one_waits_for_company() -> None:
    """Where callers come in numbers, those that come a moment apart share a flush; the lone one still goes at once."""
    batches: list[list[str]] = []

    async def flush(items: Sequence[str]) -> Sequence[str]:
        batches.append(list(items))
        if "first" in items:
            late.append(asyncio.create_task(coalescer.submit("late")))
            await asyncio.sleep(0)
        return list(items)

    async def scenario() -> None:
        await asyncio.gather(*(coalescer.submit(name) for name in ("first", "second", "third")))
        later = asyncio.create_task(coalescer.submit("later"))
        await asyncio.gather(later, *late)
        await asyncio.wait_for(coalescer.submit("alone"), 0.5)

    late: list[asyncio.Task[str]] = []
    coalescer: Coalescer[str, str] = Coalescer(flush, flushers=1, linger_s=1.0)
    asyncio.run(scenario())
    assert batches == [["first", "second", "third"], ["late", "later"], ["alone"]]


def test_a_poisoned_item_fails_alone() -> None:
    """The others of its transaction are tried again one by one and succeed."""

    async def flush(items: Sequence[int]) -> Sequence[int]:
        if 7 in items:
            raise ValueError("seven")
        return list(items)

    async def scenario() -> list[object]:
        coalescer = Coalescer(flush)
        return await asyncio.gather(*(coalescer.submit(n) for n in range(20)), return_exceptions=True)

    results = asyncio.run(scenario())
    assert [result for result in results if isinstance(result, int)] == [n for n in range(20) if n != 7]
    assert isinstance(results[7], ValueError)


def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    """An outage is nobody's fault among the items: they are not tried one by one."""
    calls = 0

    async def flush(_: Sequence[int]) -> Sequence[int]:
        nonlocal calls
        calls += 1
        raise DatabaseUnavailable("clm_secure_db: gone")

    async def scenario() -> list[object]:
        coalescer = Coalescer(flush)
        return await asyncio.gather(*(coalescer.submit(n) for n in range(20)), return_exceptions=True)

    results = asyncio.run(scenario())
    assert all(isinstance(result, DatabaseUnavailable) for result in results)
    assert calls == 1


def test_a_caller_that_gave_up_does_not_disturb_the_others() -> None:
    """A cancelled caller's item may or may not be written; nobody else notices."""

    async def flush(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.01)
        return list(items)

    async def scenario() -> int:
        coalescer = Coalescer(flush, flushers=1)
        first = asyncio.create_task(coalescer.submit(1))
        second = asyncio.create_task(coalescer.submit(2))
        await asyncio.sleep(0.001)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(scenario()) == 2


def test_an_item_submitted_in_the_very_turn_in_which_the_last_flush_ends_is_not_forgotten() -> None:
    """A drain that has looked for the last time does not count as one that will look again."""

    async def flush(items: Sequence[int]) -> Sequence[int]:
        return list(items)

    async def one_after_another() -> list[int]:
        coalescer = Coalescer(flush, flushers=1)
        return [await coalescer.submit(number) for number in range(50)]

    async def scenario() -> list[int]:
        return await asyncio.wait_for(one_after_another(), 5)

    assert asyncio.run(scenario()) == list(range(50))
