"""The work queue: every key that is added is worked on, never twice at once, and retries wait."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from clm.controllers.queue import WorkQueue


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_a_key_added_many_times_is_taken_once() -> None:
    """Deduplication: ten events of one object are one look at it."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock())
        for _ in range(10):
            queue.add("a")
        assert await queue.take() == "a"
        assert len(queue) == 0

    asyncio.run(scenario())


def test_a_key_added_while_worked_on_is_worked_on_again_afterwards() -> None:
    """No event is lost, and no key is worked on twice at once."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock())
        queue.add("a")
        assert await queue.take() == "a"
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.take() == "a"
        queue.done("a")
        assert len(queue) == 0

    asyncio.run(scenario())


def test_what_is_due_later_comes_when_its_time_comes_and_the_earlier_time_wins() -> None:
    """A due time may be brought forward, never pushed back."""
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    queue.add_after("b", 30)
    queue.add_after("b", 5)
    assert queue.move_due() == 5
    clock.now = 5
    queue.move_due()
    assert len(queue) == 1
    clock.now = 10
    queue.move_due()
    assert len(queue) == 2
    clock.now = 100
    assert queue.move_due() is None
    assert len(queue) == 2


def test_retries_wait_twice_as_long_each_time_until_forgotten() -> None:
    """Back-off: from the first delay, doubling, up to the last; success starts it anew."""
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock, first_delay_s=1, last_delay_s=5)
    delays = []
    for _ in range(5):
        delays.append(queue.retry("a"))
        clock.now += 100
        queue.move_due()
    assert delays == [1, 2, 4, 5, 5]
    queue.forget("a")
    assert queue.retry("a") == 1


def test_a_cancelled_taker_does_not_swallow_a_key() -> None:
    """A worker that is stopped while it is being woken passes the key on."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock())
        first = asyncio.create_task(queue.take())
        second = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await asyncio.wait_for(second, 1) == "a"

    asyncio.run(scenario())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=40), st.integers(1, 4))
def test_every_addition_is_followed_by_a_look(additions: list[tuple[str, int, bool]], workers: int) -> None:
    """Level-triggered law: after the last addition of a key there is a later start of work on it; never two at once."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock(), background_limit=1)
        added: dict[str, int] = {}
        looked: dict[str, int] = {}
        working: Counter[str] = Counter()
        step = 0

        async def work() -> None:
            nonlocal step
            while True:
                key = await queue.take()
                working[key] += 1
                assert working[key] == 1
                step += 1
                looked[key] = step
                await asyncio.sleep(0)
                working[key] -= 1
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key, pauses, background in additions:
            step += 1
            added[key] = step
            queue.add(key, background=background)
            for _ in range(pauses):
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert all(looked[key] > when for key, when in added.items())

    asyncio.run(scenario())


def test_what_can_wait_waits_and_is_not_forgotten() -> None:
    """A mass in the background is passed by whatever comes, but for one now and then."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock())
        for number in range(100):
            queue.add(f"due-{number}", background=True)
        for number in range(20):
            queue.add(f"new-{number}")
        order = []
        for _ in range(30):
            order.append(await queue.take())
            queue.done(order[-1])
        new = [place for place, key in enumerate(order) if key.startswith("new")]
        assert len(new) == 20
        assert max(new) == 21
        assert [key for key in order if key.startswith("due")] == [f"due-{number}" for number in range(10)]

    asyncio.run(scenario())


def test_some_workers_are_kept_from_the_background() -> None:
    """However much waits there, what is new finds a worker that is free."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=Clock(), background_limit=2)
        for key in ("a", "b", "c"):
            queue.add(key, background=True)
        assert [await queue.take(), await queue.take()] == ["a", "b"]
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.add("new")
        assert await waiting == "new"
        waiting = asyncio.create_task(queue.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.done("a")
        assert await waiting == "c"

    asyncio.run(scenario())


def test_a_key_of_the_background_can_come_to_the_front_and_not_go_back() -> None:
    """Somebody needs it now; that it is due as well makes it no less urgent. It is taken once."""

    async def scenario() -> None:
        clock = Clock()
        queue: WorkQueue[str] = WorkQueue(clock=clock)
        for key in ("a", "b", "c"):
            queue.add(key, background=True)
        queue.add("c")
        queue.add("c", background=True)
        queue.add_after("b", 1, background=True)
        clock.now = 2
        queue.move_due()
        taken = [await queue.take() for _ in range(len(queue))]
        assert taken == ["c", "a", "b"]
        queue.add("a", background=True)
        queue.add("a")
        queue.add("new", background=True)
        queue.done("a")
        assert [await queue.take(), await queue.take()] == ["a", "new"]
        assert queue.working == 4

    asyncio.run(scenario())
