"""Group commit: concurrent callers share one transaction.

A commit costs one flush to disk whatever it holds. While one transaction is on its way the next callers
gather, and the next transaction takes them all; a lone caller waits for nobody. Where callers come in numbers the
next transaction waits some milliseconds for more of them, as PostgreSQL does with commit_delay and commit_siblings:
much of what a small transaction costs is the transaction. When a shared transaction fails, its items are tried one by
one, so that a poisoned one fails alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from clm.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_SIBLINGS = 3
_LINGER_S = 0.015
"""Far less than a certificate is on its way when there are many of them."""

_ANSWER_S = 60.0
"""Twice the statement timeout of the sessions: whoever waits longer waits for a peer that is gone."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Runs `flush` over whatever items wait, at most `flushers` at a time and `limit` items each.

    `flush` gets the items and returns one result for each, in order, all in one transaction.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        flushers: int = 2,
        limit: int = 64,
        linger_s: float = _LINGER_S,
    ) -> None:
        self._flush = flush
        self._limit = limit
        self._linger_s = linger_s
        self._crowded = False
        self._flushers = flushers
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._draining = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Take part in the next transaction; return when it is durable. Raises what `flush` raised for this item."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._draining < self._flushers:
            self._draining += 1
            task = asyncio.create_task(self._drain())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _drain(self) -> None:
        try:
            # Let every task that is ready in this turn of the loop join the first transaction.
            await asyncio.sleep(0)
            while self._waiting:
                if self._crowded and len(self._waiting) < self._limit:
                    await asyncio.sleep(self._linger_s)
                batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
                batch = [(item, future) for item, future in batch if not future.done()]
                self._crowded = len(batch) >= _SIBLINGS
                if batch:
                    await self._flush_batch(batch)
        finally:
            # There must be no await between the last look at what waits and this: an item that is submitted in between
            # would find a drain at work that never looks again.
            self._draining -= 1

    async def _flush_batch(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._answer([item for item, _ in batch])
        except DatabaseUnavailable as error:
            # Nobody's fault among the items: trying them one by one would only wait longer.
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - it is handed to the caller whose item it is
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for single in batch:
                    await self._flush_batch([single])
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _answer(self, items: Sequence[Item]) -> Sequence[Result]:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._flush(items)
        except TimeoutError:
            raise DatabaseUnavailable("a transaction was not answered in time") from None


def _fail(batch: list[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
